//! Raw JSON of clients, which is kept byte for byte and which other clients have to read.
//!
//! A [`RawValue`] only follows JSON's grammar: its texts may hold lone surrogates, which are not Unicode, its numbers may
//! be too large for a float, and it may be nested arbitrarily deep. Many parsers reject a whole document for one such
//! value. So [`check`] refuses them in requests, and [`readable`] repairs those that are in a store already.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};

/// How deep arrays and objects may be nested: deeper than clients need, and less deep than any parser refuses.
pub const MAX_DEPTH: usize = 31;

/// Why some parsers would reject a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where in the value, for example `a[0].b`; empty for the value itself.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
}

impl Unreadable {
    /// The path, for a value that is at `field`.
    pub fn path_below(&self, field: &str) -> String {
        match self.path.as_bytes().first() {
            None | Some(b'[') => format!("{field}{}", self.path),
            Some(_) => format!("{field}.{}", self.path),
        }
    }
}

/// Checks that every parser accepts `raw`, and that all read the same.
///
/// # Errors
/// The first text that is not Unicode, number that is not finite, duplicate name in an object, or value that is more than
/// [`MAX_DEPTH`] levels deep.
pub fn check(raw: &RawValue) -> Result<(), Unreadable> {
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    let mut track = serde_path_to_error::Track::new();
    let checked = Strict { levels: MAX_DEPTH, twice: false }
        .deserialize(serde_path_to_error::Deserializer::new(&mut reader, &mut track));
    checked.map_err(|error| {
        let (path, text) = (track.path().to_string(), error.to_string());
        // If a name itself is not Unicode, the path ends at its object.
        let path = path.trim_end_matches('?').trim_end_matches('.').to_owned();
        let problem = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
        // The grammar is right, so a syntax error can only be one of these two.
        let problem = match error.is_syntax() {
            true if problem.contains("out of range") => "a number has to be finite",
            true => "a text has to be Unicode, so that none of \\ud800 to \\udfff stands alone",
            false => problem,
        };
        let problem = problem.to_owned();
        Unreadable { path, problem }
    })
}

/// Reads and discards any value that every parser accepts.
#[derive(Clone, Copy)]
struct Strict {
    /// How many more levels are allowed.
    levels: usize,
    /// Whether the object had the same name before.
    twice: bool,
}

impl Strict {
    fn below<E: Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1);
        levels
            .map(|levels| Self { levels, twice: false })
            .ok_or_else(|| E::custom(format_args!("at most {MAX_DEPTH} levels deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.twice {
            return Err(D::Error::custom("a name that stands there twice"));
        }
        deserializer.deserialize_any(self)
    }
}

macro_rules! accept {
    ($($visit:ident($type:ty))+) => { $(fn $visit<E>(self, _: $type) -> Result<(), E> { Ok(()) })+ };
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    accept! { visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str) }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while seq.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (below, mut names) = (self.below()?, BTreeSet::new());
        while let Some(name) = map.next_key::<String>()? {
            map.next_value_seed(Self { twice: !names.insert(name), ..below })?;
        }
        Ok(())
    }
}

/// Returns `raw` in a form that every parser accepts. A lone surrogate is replaced by U+FFFD, a number that is not finite by
/// its digits as a text, and a value below [`MAX_DEPTH`] by its JSON as a text. Everything else stays byte for byte.
pub fn readable(raw: &RawValue) -> Cow<'_, RawValue> {
    let mut mender = Mender { json: raw.get(), mended: String::new(), done: 0 };
    mender.mend();
    if mender.done == 0 {
        return Cow::Borrowed(raw);
    }
    mender.mended.push_str(&mender.json[mender.done..]);
    // Each replacement is a valid value; null is a fallback that is never needed.
    RawValue::from_string(mender.mended).map_or(Cow::Borrowed(RawValue::NULL), Cow::Owned)
}

/// Repairs valid JSON in one pass.
struct Mender<'a> {
    json: &'a str,
    /// The repaired form of `json[..done]`.
    mended: String,
    done: usize,
}

impl Mender<'_> {
    fn mend(&mut self) {
        let (mut at, mut depth) = (0, 0);
        while let Some(byte) = self.byte(at) {
            at = match byte {
                b'"' => self.mend_text(at),
                b'-' | b'0'..=b'9' => self.mend_number(at),
                b'[' | b'{' if depth == MAX_DEPTH => {
                    let end = self.end_of(at);
                    self.replace_by_text(at, end);
                    end
                }
                b'[' | b'{' => {
                    depth += 1;
                    at + 1
                }
                b']' | b'}' => {
                    depth = depth.saturating_sub(1);
                    at + 1
                }
                _ => at + 1,
            }
        }
    }

    /// Repairs the text that begins at `at`, and returns its end.
    fn mend_text(&mut self, at: usize) -> usize {
        let mut at = at + 1;
        while let Some(byte) = self.byte(at) {
            at += match (byte, self.code_unit(at)) {
                (b'"', _) => return at + 1,
                (_, Some(0xD800..=0xDBFF)) if matches!(self.code_unit(at + 6), Some(0xDC00..=0xDFFF)) => 12,
                (_, Some(0xD800..=0xDFFF)) => {
                    self.replace(at, at + 6, "\\ufffd");
                    6
                }
                (b'\\', _) => 2,
                _ => 1,
            };
        }
        at
    }

    /// Repairs the number that begins at `at`, and returns its end.
    fn mend_number(&mut self, at: usize) -> usize {
        let rest = &self.json[at..];
        let length = rest.find(|letter: char| !matches!(letter, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
        let end = at + length.unwrap_or(rest.len());
        if !self.json[at..end].parse().is_ok_and(f64::is_finite) {
            self.replace_by_text(at, end);
        }
        end
    }

    /// Returns the end of the array or object that begins at `at`.
    fn end_of(&self, mut at: usize) -> usize {
        let (mut depth, mut in_text) = (0_usize, false);
        while let Some(byte) = self.byte(at) {
            at += 1;
            match byte {
                b'\\' if in_text => at += 1,
                b'"' => in_text = !in_text,
                b'[' | b'{' if !in_text => depth += 1,
                b']' | b'}' if !in_text && depth == 1 => return at,
                b']' | b'}' if !in_text => depth -= 1,
                _ => {}
            }
        }
        self.json.len()
    }

    /// Returns the code unit of a `\uXXXX` at `at`.
    fn code_unit(&self, at: usize) -> Option<u16> {
        let digits = self.json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    }

    fn replace_by_text(&mut self, start: usize, end: usize) {
        let text = to_raw_value(&self.json[start..end]);
        self.replace(start, end, text.as_deref().map_or("null", RawValue::get));
    }

    fn replace(&mut self, start: usize, end: usize, by: &str) {
        self.mended.push_str(&self.json[self.done..start]);
        self.mended.push_str(by);
        self.done = end;
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.json.as_bytes().get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn mended(json: &str) -> String {
        readable(&raw(json)).get().to_owned()
    }

    #[test]
    fn what_not_every_reader_takes_is_found_with_its_path() {
        for (json, path) in [
            (r#""\ud800""#, ""),
            (r#"["", "\udc00"]"#, "[1]"),
            (r#"{"a": [{"b": "x\ud800\u0041"}]}"#, "a[0].b"),
            (r#"{"a": {"\udfff": 1}}"#, "a"),
            (r#"[1, 1e999]"#, "[1]"),
            (r#"{"a": -1e999}"#, "a"),
            (r#"{"a": {"b": 1, "c": 1, "b": 2}}"#, "a.b"),
            (r#"{"a": {"b": 1, "\u0062": 2}}"#, "a.b"),
        ] {
            let found = check(&raw(json)).unwrap_err();
            assert_eq!(found.path, path, "{json}: {}", found.problem);
        }
        assert_eq!(check(&raw(r#"["\ud800"]"#)).unwrap_err().path_below("metadata.a"), "metadata.a[0]");
        assert_eq!(check(&raw(r#"{"b":1e999}"#)).unwrap_err().path_below("metadata.a"), "metadata.a.b");
    }

    #[test]
    fn depth_counts_arrays_and_objects_and_not_what_texts_say() {
        let nested = |levels| raw(&format!("{}{}", r#"[{"a":"#.repeat(levels), "1".to_owned() + &"}]".repeat(levels)));
        assert!(check(&nested(MAX_DEPTH / 2)).is_ok());
        assert!(check(&nested(MAX_DEPTH / 2 + 1)).unwrap_err().problem.contains("levels deep"));
        assert!(check(&raw(&format!(r#""{}""#, "[".repeat(500)))).is_ok());
    }

    #[test]
    fn what_is_wrong_is_replaced_and_everything_else_stays_as_it_was_written() {
        for (json, expected) in [
            (r#"{"a":"\ud800\ud83d\ude00","n":[1e999,-2.50]}"#, r#"{"a":"\ufffd\ud83d\ude00","n":["1e999",-2.50]}"#),
            (r#""\udc00\ud800\ud800x\\ud800""#, r#""\ufffd\ufffd\ufffdx\\ud800""#),
            (r#"{"\uDBFF":-1E+400}"#, r#"{"\ufffd":"-1E+400"}"#),
            (r#"["1e999",12345678901234567890123,"\u00e9ü"]"#, r#"["1e999",12345678901234567890123,"\u00e9ü"]"#),
        ] {
            assert_eq!(mended(json), expected);
        }
        let deep = format!("{}{}{}", "[".repeat(MAX_DEPTH), r#"{"]":["\ud800"]},1"#, "]".repeat(MAX_DEPTH));
        let text = format!("{}{}{}", "[".repeat(MAX_DEPTH), r#""{\"]\":[\"\\ud800\"]}",1"#, "]".repeat(MAX_DEPTH));
        assert_eq!(mended(&deep), text);
        let deepest = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(check(&raw(&mended(&deepest))).is_ok());
    }

    /// Any JSON without duplicate names, which are not repaired.
    fn any_json() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            Just(r#"\ud83d\ude00"#.to_owned()),
            Just(r#"\\"#.to_owned()),
            Just(r#"\""#.to_owned()),
            "\\\\u(d[89abcdef]|00)[0-9a-f]{2}",
            "[a-z{\\[ü]",
        ];
        let text = prop::collection::vec(text, 0..5).prop_map(|parts| format!("\"{}\"", parts.concat()));
        let number = "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?";
        let leaf = prop_oneof![text.clone(), number.prop_map(|number| number), Just("null".to_owned())];
        leaf.prop_recursive(40, 60, 3, move |inner| {
            let object = (text.clone(), inner.clone()).prop_map(|(name, value)| format!("{{{name}: {value}}}"));
            prop_oneof![prop::collection::vec(inner, 0..3).prop_map(|all| format!("[{}]", all.join(","))), object]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_mended_is_fit_and_whatever_is_fit_is_left_alone(json in any_json()) {
            let raw = raw(&json);
            let readable = readable(&raw);
            prop_assert_eq!(check(&readable), Ok(()), "{} became {}", json, readable.get());
            prop_assert_eq!(matches!(readable, Cow::Borrowed(_)), check(&raw).is_ok(), "{}", json);
        }
    }
}
