//! Generates random numbers. No other module does.

use std::{cell::Cell, time::Duration};

use rand::{
    RngExt,
    distr::{Alphanumeric, Distribution, StandardUniform},
};

use crate::domain::{SandboxId, retry::Backoff, snapshot::SnapshotId};

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes the jitter on this thread depend only on `seed` and the number of failures, so that a test can be repeated exactly.
pub fn seed_jitter(seed: u64) {
    SEED.set(Some(seed));
}

/// A random number.
pub(crate) fn number<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    rand::random()
}

/// Random letters and digits.
pub(crate) fn letters(count: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(count).map(char::from).collect()
}

impl SandboxId {
    /// A new random identifier.
    pub fn generate() -> Self {
        Self::of_number(number())
    }
}

impl SnapshotId {
    /// A new random identifier.
    pub fn generate() -> Self {
        Self::of_number(number())
    }
}

impl Backoff {
    /// [`Backoff::wait`] with random jitter.
    pub fn jittered_wait(&self, failures: u32) -> Duration {
        self.wait(failures, SEED.get().map_or_else(number, |seed| seeded_jitter(seed, failures)))
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
    fn generated_ids_differ() {
        assert_ne!(SandboxId::generate(), SandboxId::generate());
    }

    #[test]
    fn seeded_jitter_is_the_same_once_more() {
        std::thread::spawn(|| {
            seed_jitter(7);
            let first: Vec<_> = (1..9).map(|failures| Backoff::STANDARD.jittered_wait(failures)).collect();
            let again: Vec<_> = (1..9).map(|failures| Backoff::STANDARD.jittered_wait(failures)).collect();
            assert_eq!(first, again);
        })
        .join()
        .unwrap();
    }
}
