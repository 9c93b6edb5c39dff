//! Describes values that cannot be read.

use serde_path_to_error::{Path, Segment};
use toml::Value;

use super::{
    error::{Origin, Problem},
    value::Mismatch,
};

/// Why a value cannot be read, and where in the configuration.
pub(super) type Unreadable = serde_path_to_error::Error<Mismatch>;

/// Describes why `value` cannot be read at `key`.
pub(super) fn unreadable(error: &Unreadable, key: &[String], value: &Value, origin: &Origin) -> Problem {
    let place = error.path().to_string();
    let (value, rule) = match error.inner() {
        Mismatch::UnknownKey { key: unknown, known } => {
            let above = place.rsplit_once('.').map_or(String::new(), |(above, _)| format!("{above}."));
            let rule = match closest(unknown, known) {
                Some(name) => format!("unknown key; did you mean {above}{name}?"),
                None => format!("unknown key; known here: {}", known.join(", ")),
            };
            (None, rule)
        }
        Mismatch::Kind(rule) | Mismatch::Rule(rule) => {
            let wrong = part(value, error.path(), key.len());
            (wrong.filter(|value| !value.is_table()).and_then(|value| shown(&place, value)), rule.clone())
        }
    };
    Problem { origin: origin.clone(), key: place, value, rule }
}

/// The part of `value` at `place`, whose first `depth` segments lead to `value` itself; `None` above it.
fn part<'a>(value: &'a Value, place: &Path, depth: usize) -> Option<&'a Value> {
    let mut segments = place.iter();
    (0..depth).try_for_each(|_| segments.next().map(|_| ()))?;
    segments.try_fold(value, |value, segment| match segment {
        Segment::Seq { index } => value.get(*index),
        Segment::Map { key } | Segment::Enum { variant: key } => value.get(key),
        Segment::Unknown => None,
    })
}

/// The value at `key` for an error message, unless it may be a secret.
pub(super) fn shown(key: &str, value: &Value) -> Option<String> {
    const LONGEST: usize = 80;
    let text = value.to_string().replace(char::is_control, " ");
    let cut = text.char_indices().nth(LONGEST).map(|(end, _)| format!("{}…", &text[..end]));
    (!is_secret(key)).then(|| cut.unwrap_or(text))
}

/// Whether the value at `key` may hold a secret.
fn is_secret(key: &str) -> bool {
    let mut names = key.split('.');
    let known = (names.next(), names.next(), names.next());
    matches!(known, (Some("http"), Some("api_key"), _) | (Some("store"), Some("redis_url"), _))
        || matches!(known, (Some("docker"), Some("registries"), _) | (Some("templates"), Some(_), Some("env")))
}

/// The one of `known` that `word` is most likely a misspelling of.
fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let nearest = known.iter().map(|candidate| (strsim::levenshtein(&word, candidate), *candidate)).min()?;
    // At most one typo in three letters; more is another word.
    (nearest.0 <= word.chars().count().div_ceil(3)).then_some(nearest.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let known = ["idle_timeout", "active_timeout", "on_timeout", "retention"];
        assert_eq!(closest("idle_timout", &known), Some("idle_timeout"));
        assert_eq!(closest("IDLE_TIMEOUT", &known), Some("idle_timeout"));
        assert_eq!(closest("retension", &known), Some("retention"));
        assert_eq!(closest("colour", &known), None);
        assert_eq!(closest("x", &[]), None);
    }
}
