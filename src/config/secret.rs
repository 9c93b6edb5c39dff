//! Secret values.

use std::fmt;

use serde::Deserialize;
use subtle::ConstantTimeEq;

/// A value that logs and error messages cannot show: its `Debug` hides it, and it has no `Display`.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl Secret {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Returns the value itself, for the client that has to present it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this value, in a time that depends only on the lengths (see
    /// [design: access](crate::design::security::access)).
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(candidate).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed_and_matches_only_itself() {
        let secret = Secret::new("open sesame");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "(secret) Some((secret))");
        assert!(secret.matches(b"open sesame"));
        for other in ["", "open", "open sesamE", "open sesame "] {
            assert!(!secret.matches(other.as_bytes()), "{other:?} was taken");
        }
    }
}
