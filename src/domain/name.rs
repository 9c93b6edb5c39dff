//! The names of containers; see [design: labels](crate::design::engine::labels).

use std::fmt::Write;

use sha1::{Digest, Sha1};

use super::id::SandboxId;

/// The prefix that is left out of names.
const DEFAULT_PREFIX: &str = "sandglass";

/// The longest encoded prefix that is not cut.
const LONGEST: usize = 40;
/// The length of a cut prefix, without its hash.
const BEGINNING: usize = 24;
/// Bytes of the hash, enough to make a collision improbable.
const HASH: usize = 10;

/// The name of a sandbox's container: `sandglass-{id}`, or `sandglass.{prefix}.{id}` under another prefix than the default.
/// Names are unique per prefix and id.
pub fn container_name(prefix: &str, id: &SandboxId) -> String {
    if prefix == DEFAULT_PREFIX { unprefixed(id) } else { format!("sandglass.{}.{id}", encoded(prefix)) }
}

/// The name that earlier versions gave under every prefix.
pub fn unprefixed(id: &SandboxId) -> String {
    format!("sandglass-{id}")
}

/// Encodes a prefix in the characters of container names, without a dot, which ends it: a dot becomes `_d`, a colon `_c`, and
/// an underscore `__`. A long prefix is cut and hashed, which makes it longer than any prefix that is not.
pub fn encoded(prefix: &str) -> String {
    let mut encoded = String::with_capacity(LONGEST);
    for character in prefix.chars() {
        match character {
            '.' => encoded.push_str("_d"),
            ':' => encoded.push_str("_c"),
            '_' => encoded.push_str("__"),
            other => encoded.push(other),
        }
    }
    if encoded.len() > LONGEST {
        encoded.truncate(BEGINNING);
        for byte in &Sha1::digest(prefix)[..HASH] {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "{byte:02x}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// All texts of up to `longest` of these characters, the first one a letter.
    fn texts(alphabet: &[char], longest: usize) -> Vec<String> {
        let mut all = vec!["a".to_owned(), "d".to_owned()];
        let mut from = 0;
        for _ in 1..longest {
            let until = all.len();
            for index in from..until {
                for character in alphabet {
                    all.push(format!("{}{character}", all[index]));
                }
            }
            from = until;
        }
        all
    }

    fn is_taken_by_the_engine(name: &str) -> bool {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    }

    #[test]
    fn no_two_prefixes_and_ids_give_the_same_name() {
        let ids: Vec<_> =
            texts(&['a', 'd', '.', '_', '-'], 3).iter().map(|text| SandboxId::parse(text).unwrap()).collect();
        let mut prefixes = texts(&['a', 'd', '.', '_', '-', ':', 'c'], 3);
        prefixes.extend(["sandglass", "sandglass-a", "sandglass.a", "sandglass.a.d"].map(str::to_owned));
        let mut seen = HashMap::new();
        for prefix in &prefixes {
            for id in &ids {
                let name = container_name(prefix, id);
                assert!(is_taken_by_the_engine(&name), "{name}");
                if let Some(other) = seen.insert(name.clone(), (prefix, id)) {
                    panic!("{name} is of {other:?} and of {:?}", (prefix, id));
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn names_of_long_prefixes_are_told_apart_and_stay_short(
            one in "[a-b][a-b_.:-]{0,127}", other in "[a-b][a-b_.:-]{0,127}", cut in 1..128_usize,
        ) {
            let id = SandboxId::parse("a").unwrap();
            for other in [&other, &one[..cut.min(one.len())]] {
                proptest::prop_assert_eq!(one == *other, container_name(&one, &id) == container_name(other, &id));
            }
            let name = container_name(&one, &id);
            proptest::prop_assert!(is_taken_by_the_engine(&name) && name.len() <= 64, "{}", name);
        }
    }

    #[test]
    fn names_are_as_the_manual_has_them() {
        let id = SandboxId::parse("hello").unwrap();
        for (prefix, name) in [
            ("sandglass", "sandglass-hello"),
            ("blue", "sandglass.blue.hello"),
            ("a:b_c.d", "sandglass.a_cb__c_dd.hello"),
        ] {
            assert_eq!(container_name(prefix, &id), name);
        }
    }
}
