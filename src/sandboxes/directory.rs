//! All sandboxes, and what it takes to answer for them.

use std::sync::Arc;

use dashmap::DashSet;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use super::health::{Health, RuntimeHealth, ServingPhase};
use crate::{
    actor::{Arbiters, Entry, RequestError, Shared},
    config::Settings,
    domain::{Now, Sandbox, SandboxId},
    feed::Change,
    metrics::Scrape,
};

/// Creates, finds and lists sandboxes. It owns no timer and no state of theirs; whatever concerns one sandbox is a message to
/// its actor.
pub struct Sandboxes {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) arbiters: Arbiters,
    pub(super) creates: Arc<Semaphore>,
    pub(super) health: Arc<Health>,
    /// The requests that are being answered.
    in_flight: TaskTracker,
    /// Ids whose records are lost and whose containers have not been looked for yet: nobody knows what they are.
    pub(crate) unresolved: DashSet<SandboxId>,
    /// Asks the keeper for a sweep out of turn.
    pub(crate) sweep_now: Notify,
}

impl Sandboxes {
    /// A directory that knows no sandbox yet.
    pub fn new(shared: Arc<Shared>, arbiters: Arbiters, settings: Arc<Settings>) -> Self {
        Self {
            creates: Arc::new(Semaphore::new(settings.sandboxes.max_creates)),
            health: Arc::new(Health::new(shared.journal.health(), shared.tasks.clone())),
            in_flight: TaskTracker::new(),
            unresolved: DashSet::new(),
            sweep_now: Notify::new(),
            shared,
            settings,
            arbiters,
        }
    }

    /// How the supervisor is.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The validated configuration.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Now, on the clock that deadlines are read on.
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// The requests that are being answered: a stop waits for them before the last write.
    pub fn in_flight(&self) -> &TaskTracker {
        &self.in_flight
    }

    /// All counters as text.
    pub fn metrics(&self) -> String {
        let (journal_backlog, journal_oldest_seconds) = self.shared.journal.backlog();
        self.shared.metrics.render(&Scrape {
            journal_backlog,
            journal_oldest_seconds,
            streams: self.shared.feed.readers(),
            foreign: self.health.foreign(),
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

    /// What it means that no actor stands under `id`.
    pub(super) fn absent(&self, id: &SandboxId) -> RequestError {
        let phase = self.health.phase();
        match self.shared.registry.get(id, self.now().moment) {
            Some(Entry::Ended(tombstone)) => RequestError::Gone(tombstone.sandbox),
            // Its actor has left with the threads of all actors.
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

    /// Tells those who watch that nothing is known any more of a sandbox that ended.
    pub(crate) fn tell_forgotten(&self, sandbox: &Sandbox) {
        self.shared.feed.publish(Change::Forgotten, sandbox, self.now());
    }
}
