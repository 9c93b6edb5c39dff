//! What every actor shares.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::registry::Registry;
use crate::{clock::Clock, domain::retry::Backoff, journal::Journal, metrics::Metrics, ports::runtime::Runtime};

/// What every actor shares.
pub struct World {
    /// The clock that deadlines are read on.
    pub clock: Clock,
    /// The way to the store.
    pub journal: Journal,
    /// The container engine.
    pub runtime: Arc<dyn Runtime>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Who is alive, and who was.
    pub registry: Registry,
    /// Where deeds run: arbiters are for messages and timers.
    pub io: Handle,
    /// How long tombstones stay.
    pub retention: Duration,
    /// How retries are spaced.
    pub backoff: Backoff,
}
