//! Texts that are nearly right, made from a corpus, for parsers that must never panic.

use proptest::{collection::vec, prelude::*, sample::Index};

/// Fragments that parsers stumble over, inserted into texts.
const SNIPPETS: &[&str] = &[
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "1e308",
    "-1e308",
    "0.1",
    "18446744073709551616",
    "\"",
    "\"\"",
    "\\",
    "\\ud800",
    "\\u0000",
    "{",
    "}",
    "{}",
    "[",
    "]",
    "[]",
    ",",
    ":",
    "\u{feff}",
    "é",
    "\n",
    "\0",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

#[derive(Clone, Debug)]
enum Mutation {
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Replace(Index, u8),
    Repeat(Index, usize),
}

impl Mutation {
    fn any() -> impl Strategy<Value = Self> {
        let snippet = prop_oneof![
            4 => proptest::sample::select(SNIPPETS).prop_map(|snippet| snippet.as_bytes().to_vec()),
            1 => vec(any::<u8>(), 1..4),
        ];
        prop_oneof![
            (any::<Index>(), snippet).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            (any::<Index>(), 1..12_usize).prop_map(|(at, length)| Self::Remove(at, length)),
            (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Self::Replace(at, byte)),
            (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Self::Repeat(at, length)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        let (Self::Insert(at, _) | Self::Remove(at, _) | Self::Replace(at, _) | Self::Repeat(at, _)) = self;
        let at = at.index(bytes.len() + 1);
        let end = |length: usize| (at + length).min(bytes.len());
        match self {
            Self::Insert(_, snippet) => _ = bytes.splice(at..at, snippet.iter().copied()),
            Self::Remove(_, length) => _ = bytes.drain(at..end(*length)),
            Self::Replace(_, byte) => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = *byte),
            Self::Repeat(_, length) => {
                let again = bytes[at..end(*length)].to_vec();
                _ = bytes.splice(at..at, again);
            }
        }
    }
}

/// A text of the corpus with up to six mutations, or now and then an unrelated one.
pub(crate) fn mutated(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let near = (proptest::sample::select(corpus), vec(Mutation::any(), 0..6)).prop_map(|(mut bytes, mutations)| {
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        bytes
    });
    prop_oneof![9 => near, 1 => vec(any::<u8>(), 0..64)]
}
