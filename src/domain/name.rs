//! The names of containers ([design: labels](crate::design::engine::labels)).

use std::fmt::Write;

use sha1::{Digest, Sha1};

use super::id::SandboxId;

/// The prefix that names do not tell.
const DEFAULT_PREFIX: &str = "sandglass";

/// Up to this length, a prefix stands in a name as a whole.
const WHOLE: usize = 40;
/// So much is left of a longer one, in front of its hash.
const BEGINNING: usize = 24;
/// Bytes of the hash: enough that nobody meets two prefixes with the same ones.
const HASH: usize = 10;

/// The name of a sandbox's container: `sandglass-{id}`, or `sandglass.{prefix}.{id}` where the prefix is not the default one.
/// No other prefix and id give the same name.
pub fn container_name(prefix: &str, id: &SandboxId) -> String {
    if prefix == DEFAULT_PREFIX { unprefixed(id) } else { format!("sandglass.{}.{id}", told(prefix)) }
}

/// The name that earlier versions gave, whatever the prefix.
pub fn unprefixed(id: &SandboxId) -> String {
    format!("sandglass-{id}")
}

/// The prefix in characters that the engine takes for a name, without a dot: the first dot after it ends it. A dot becomes
/// `_d`, a colon `_c`, and an underscore `__`. A long prefix is cut and hashed, which makes it longer than any whole one.
fn told(prefix: &str) -> String {
    let mut told = String::with_capacity(WHOLE);
    for character in prefix.chars() {
        match character {
            '.' => told.push_str("_d"),
            ':' => told.push_str("_c"),
            '_' => told.push_str("__"),
            other => told.push(other),
        }
    }
    if told.len() > WHOLE {
        told.truncate(BEGINNING);
        for byte in &Sha1::digest(prefix)[..HASH] {
            // Writing to a text cannot fail.
            let _ = write!(told, "{byte:02x}");
        }
    }
    told
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
