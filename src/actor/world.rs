//! What every actor shares.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::registry::Registry;
use crate::{
    clock::Clock, domain::retry::Backoff, feed::Feed, journal::Journal, metrics::Metrics, ports::runtime::Runtime,
    tasks::Tasks,
};

/// What every actor shares.
pub struct World {
    /// The clock that deadlines are read on.
    pub clock: Clock,
    /// The way to the store.
    pub journal: Journal,
    /// The way to whoever watches.
    pub feed: Arc<Feed>,
    /// The container engine.
    pub runtime: Arc<dyn Runtime>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Who is alive, and who was.
    pub registry: Registry,
    /// Where deeds run: arbiters are for messages and timers.
    pub io: Handle,
    /// The tasks that run in the background, and what became of them.
    pub tasks: Tasks,
    /// How long tombstones stay.
    pub retention: Duration,
    /// How long before its end a sandbox is announced as expiring; zero: not at all.
    pub warn_before: Duration,
    /// How retries are spaced.
    pub backoff: Backoff,
}
