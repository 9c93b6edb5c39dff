//! What every actor shares.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::runtime::Handle;

use super::registry::Registry;
use crate::{
    clock::Clock,
    domain::{Moment, retry::Backoff},
    feed::Feed,
    journal::Journal,
    metrics::Metrics,
    ports::runtime::Runtime,
    tasks::Tasks,
};

/// What every actor shares.
pub struct Shared {
    /// The clock that deadlines are read on.
    pub clock: Clock,
    /// The way to the store.
    pub journal: Journal,
    /// The way to the watchers.
    pub feed: Arc<Feed>,
    /// The container engine.
    pub runtime: Arc<dyn Runtime>,
    /// When the engine last did not answer.
    pub runtime_away: Away,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The actors and the tombstones.
    pub registry: Registry,
    /// Where calls run: arbiters are for messages and timers only.
    pub io: Handle,
    /// The background tasks.
    pub tasks: Tasks,
    /// How long tombstones stay.
    pub retention: Duration,
    /// How long before its end watchers are warned; zero: not at all.
    pub warn_before: Duration,
    /// How retries are spaced.
    pub backoff: Backoff,
}

/// When the container engine was last found not to answer.
#[derive(Debug, Default)]
pub struct Away(Mutex<Option<Moment>>);

impl Away {
    /// Notes that it does not answer now.
    pub fn note(&self, now: Moment) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether it did not answer at this moment or later.
    pub(super) fn since(&self, moment: Moment) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at >= moment)
    }
}
