//! Exponential backoff with jitter, as a pure function.

use std::time::Duration;

/// How retries of one kind are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// The longest wait after any failure.
    pub most: Duration,
}

impl Backoff {
    /// The backoff for the container engine and the store.
    pub const STANDARD: Self = Self { first: Duration::from_millis(500), most: Duration::from_secs(60) };

    /// Returns the wait before the next attempt after `failures` failures in a row. It doubles with each one up to `most`,
    /// and `jitter` (0 to 1) scales it between a half and all, so that a thousand failures of one second spread out.
    pub fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.most).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_never_vanish() {
        let backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(60) };
        assert_eq!(backoff.wait(1, 1.0), Duration::from_secs(1));
        assert_eq!(backoff.wait(2, 1.0), Duration::from_secs(2));
        assert_eq!(backoff.wait(7, 1.0), Duration::from_secs(60));
        assert_eq!(backoff.wait(u32::MAX, 1.0), Duration::from_secs(60));
        assert_eq!(backoff.wait(1, 0.0), Duration::from_millis(500));
    }
}
