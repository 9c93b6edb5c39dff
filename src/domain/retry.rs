//! Exponential backoff with jitter, as a pure function.

use std::{cell::Cell, time::Duration};

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From here on, the jitter of this thread follows from `seed` and from how often something has failed: what a test has
/// seen happens once more.
pub fn seed_jitter(seed: u64) {
    SEED.set(Some(seed));
}

/// How retries of one kind are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait.
    pub first: Duration,
    /// The longest wait at all.
    pub most: Duration,
}

impl Backoff {
    /// For work on the container engine, and for the store.
    pub const STANDARD: Self = Self { first: Duration::from_millis(500), most: Duration::from_secs(60) };

    /// The wait before the next try after `failures` failed ones: doubled each time up to `most`, of which `jitter`
    /// (0 to 1) decides the upper half, so that a thousand failures of the same second do not come back in one.
    pub fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.most).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// The same with jitter from the thread's random numbers.
    pub fn jittered_wait(&self, failures: u32) -> Duration {
        self.wait(failures, SEED.get().map_or_else(rand::random, |seed| seeded_jitter(seed, failures)))
    }
}

/// A number between 0 and 1, the same for the same arguments.
fn seeded_jitter(seed: u64, failures: u32) -> f64 {
    let mixed = seed.wrapping_add(u64::from(failures)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
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
