//! Timeouts: those of requests that name none, and the rule for those that do.

use std::time::Duration;

use crate::http::e2b::error::Refusal;

/// How long a sandbox goes on if a call of the first version does not say.
pub(super) const OLD: Duration = Duration::from_secs(15);
/// The same by the second version.
pub(super) const RECENT: Duration = Duration::from_secs(300);
/// The least and the most that a refresh can ask for.
pub(super) const REFRESH: (Duration, Duration) = (OLD, Duration::from_secs(3600));

/// A timeout in seconds, which has to be more than 0.
pub(super) fn positive(field: &str, seconds: f64) -> Result<Duration, Refusal> {
    let timeout = Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero());
    timeout.ok_or_else(|| Refusal::field(field, format!("must be more than 0 seconds, not {seconds}")))
}
