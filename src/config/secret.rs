//! Values that nothing prints.

use std::fmt;

use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::domain::leaf::Leaf;

/// A value that stays out of logs and error messages: its `Debug` hides it, and it has no `Display`.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// A leaf whose plain value is a secret.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Hidden<L>(L);

impl<L: Leaf<Plain = String>> Leaf for Hidden<L> {
    type Plain = Secret;

    fn plain(self) -> Secret {
        Secret(self.0.plain())
    }
}

impl Secret {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this value. Takes the same time wherever the two differ (design, 9); only a difference in
    /// length can be told from it.
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
