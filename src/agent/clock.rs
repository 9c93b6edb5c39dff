//! Reads the wall clock. Everything that waits uses tokio's clock, which tests can pause.

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_types, reason = "the one place that reads the wall clock")]
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
