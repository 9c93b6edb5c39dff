//! All sandboxes, and the parts that requests need.

use std::sync::Arc;

use dashmap::DashSet;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio_util::task::TaskTracker;

use super::{
    health::{Health, RuntimeHealth, ServingPhase},
    under_way::UnderWay,
};
use crate::{
    actor::{Arbiters, Entry, RequestError, Shared},
    config::Settings,
    domain::{Now, Sandbox, SandboxId},
    feed::Change,
    metrics::Scrape,
};

/// Creates, finds and lists sandboxes. It owns none of their timers or state; everything that concerns one sandbox is a
/// message to its actor.
pub struct Sandboxes {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) arbiters: Arbiters,
    pub(super) creates: Arc<Semaphore>,
    pub(super) health: Arc<Health>,
    /// The snapshots that are being taken.
    pub(crate) snapshots: Arc<UnderWay>,
    /// Held while rules for what sandboxes may reach are changed or compared.
    pub(super) walls: Arc<Mutex<()>>,
    /// The requests in flight.
    in_flight: TaskTracker,
    /// Ids whose records are lost and whose containers have not been looked for yet.
    pub(crate) unresolved: DashSet<SandboxId>,
    /// Triggers a sweep of the keeper at once.
    pub(crate) sweep_now: Notify,
}

impl Sandboxes {
    /// An empty directory.
    pub fn new(shared: Arc<Shared>, arbiters: Arbiters, settings: Arc<Settings>) -> Self {
        Self {
            creates: Arc::new(Semaphore::new(settings.sandboxes.max_creates)),
            health: Arc::new(Health::new(shared.journal.health(), shared.tasks.clone())),
            snapshots: Arc::default(),
            walls: Arc::default(),
            in_flight: TaskTracker::new(),
            unresolved: DashSet::new(),
            sweep_now: Notify::new(),
            shared,
            settings,
            arbiters,
        }
    }

    /// The health of the supervisor.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The validated configuration.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The current time, on the clock of the deadlines.
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// The requests in flight. A stop waits for them before the last write.
    pub fn in_flight(&self) -> &TaskTracker {
        &self.in_flight
    }

    /// All metrics as text.
    pub fn metrics(&self) -> String {
        let (journal_backlog, journal_oldest_seconds) = self.shared.journal.backlog();
        self.shared.metrics.render(&Scrape {
            journal_backlog,
            journal_oldest_seconds,
            streams: self.shared.feed.readers(),
            foreign: self.health.foreign(),
            snapshots: self.snapshots.known(),
            store_up: self.health.store().is_up(),
            runtime_up: self.health.runtime() == RuntimeHealth::Up,
        })
    }

    pub(super) fn must_be_ready(&self) -> Result<(), RequestError> {
        match self.health.phase() {
            ServingPhase::Ready => Ok(()),
            ServingPhase::Standby => Err(RequestError::Standby),
            ServingPhase::Starting => Err(RequestError::Starting),
            ServingPhase::Stopping => Err(RequestError::Stopping),
        }
    }

    /// The error for an id without an actor.
    pub(super) fn absent(&self, id: &SandboxId) -> RequestError {
        let phase = self.health.phase();
        match self.shared.registry.get(id, self.now().moment) {
            Some(Entry::Ended(tombstone)) => RequestError::Gone(tombstone.sandbox),
            // Its actor has stopped together with all others.
            Some(Entry::Live(_)) if phase == ServingPhase::Stopping => RequestError::Stopping,
            Some(Entry::Live(_)) => {
                self.sweep_now.notify_one();
                RequestError::Internal(format!("sandbox {id} does not answer"))
            }
            None if phase == ServingPhase::Standby => RequestError::Standby,
            None if phase == ServingPhase::Starting || self.unresolved.contains(id) => RequestError::Starting,
            None => RequestError::NotFound(id.clone()),
        }
    }

    /// Tells watchers that the tombstone of a sandbox was deleted.
    pub(crate) fn tell_forgotten(&self, sandbox: &Sandbox) {
        self.shared.feed.publish(Change::Forgotten, sandbox, self.now());
    }
}
