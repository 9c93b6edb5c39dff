//! Sandbox identifiers.

use std::{fmt, sync::Arc};

use super::leaf::is_name;

/// The rule for identifiers, for error messages (see [design: requests](crate::design::interface::requests)).
pub const ID_RULE: &str = "1 to 63 letters, digits, '_', '.' or '-', the first a letter or a digit";

/// [`ID_RULE`] as a regular expression.
pub const ID_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$";

const MAX_LENGTH: usize = 63;
const GENERATED_SUFFIX: usize = 19;
const GENERATED_ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A valid sandbox identifier: `[A-Za-z0-9][A-Za-z0-9_.-]{0,62}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxId(Arc<str>);

/// The error for a text that is not a sandbox identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a sandbox id: {ID_RULE}")]
pub struct InvalidId {
    text: String,
}

impl SandboxId {
    /// Parses an identifier.
    ///
    /// # Errors
    /// [`InvalidId`], with the text shortened, when it breaks [`ID_RULE`].
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if is_name(text, MAX_LENGTH, b"_.-") {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId { text: text.chars().take(MAX_LENGTH + 1).collect() })
        }
    }

    /// Makes an identifier from `number`: `i` and 19 lower-case letters and digits, which encode 98 of its bits.
    pub fn of_number(mut number: u128) -> Self {
        let base = GENERATED_ALPHABET.len() as u128;
        let mut text = String::with_capacity(1 + GENERATED_SUFFIX);
        text.push('i');
        for _ in 0..GENERATED_SUFFIX {
            text.push(char::from(GENERATED_ALPHABET[(number % base) as usize]));
            number /= base;
        }
        Self(text.into())
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for SandboxId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl std::borrow::Borrow<str> for SandboxId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for SandboxId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for SandboxId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_rule_to_the_character() {
        for good in ["a", "0", "1001", "A.b_c-d", &"x".repeat(63)] {
            assert_eq!(SandboxId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "_a", "a b", "a/b", "ü", "a\n", "..", &"x".repeat(64)] {
            assert!(SandboxId::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn the_identifiers_of_numbers_are_valid_and_differ() {
        let numbers = [0, 1, 36, u128::MAX, u128::MAX - 1];
        let ids: std::collections::BTreeSet<_> = numbers.into_iter().map(SandboxId::of_number).collect();
        assert_eq!(ids.len(), numbers.len());
        for id in ids {
            assert_eq!(id.as_str().len(), 20);
            assert!(id.as_str().starts_with('i'));
            assert_eq!(SandboxId::parse(id.as_str()).unwrap(), id);
        }
    }
}
