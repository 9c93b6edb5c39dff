//! The health of the supervisor, which the keeper writes and requests read.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::{
    domain::EpochSeconds,
    journal::StoreHealth,
    tasks::{Tasks, Trouble},
};

/// The phase of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServingPhase {
    /// Another supervisor is in charge; this one waits until it stops.
    Standby,
    /// Sandboxes are being restored.
    Starting,
    /// All sandboxes are restored.
    Ready,
    /// It is stopping and starts nothing new.
    Stopping,
}

/// Whether the container engine answers.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeHealth {
    /// It has not been called yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not answer.
    Down {
        /// Since when it has not answered.
        since: EpochSeconds,
        /// The last error.
        error: String,
    },
}

impl RuntimeHealth {
    /// Whether it is known not to answer.
    pub fn is_down(&self) -> bool {
        matches!(self, Self::Down { .. })
    }
}

/// The health of the supervisor.
pub struct Health {
    phase: watch::Sender<ServingPhase>,
    /// The supervisor that was in charge when this one last tried.
    holder: watch::Sender<Option<String>>,
    store: watch::Receiver<StoreHealth>,
    runtime: watch::Sender<RuntimeHealth>,
    hazards: watch::Sender<Vec<String>>,
    tasks: Tasks,
    /// The number of containers that belong to a supervisor with another store.
    foreign: AtomicUsize,
}

impl Health {
    pub(super) fn new(store: watch::Receiver<StoreHealth>, tasks: Tasks) -> Self {
        Self {
            phase: watch::Sender::new(ServingPhase::Starting),
            holder: watch::Sender::new(None),
            store,
            runtime: watch::Sender::new(RuntimeHealth::Unknown),
            hazards: watch::Sender::new(Vec::new()),
            tasks,
            foreign: AtomicUsize::new(0),
        }
    }

    /// The phase of the supervisor.
    pub fn phase(&self) -> ServingPhase {
        *self.phase.borrow()
    }

    /// Watches the phase of the supervisor.
    pub fn watch_phase(&self) -> watch::Receiver<ServingPhase> {
        self.phase.subscribe()
    }

    /// The supervisor in charge while this one is on standby.
    pub fn holder(&self) -> Option<String> {
        self.holder.borrow().clone().filter(|_| self.phase() == ServingPhase::Standby)
    }

    /// Whether the store takes writes.
    pub fn store(&self) -> StoreHealth {
        self.store.borrow().clone()
    }

    pub(super) fn watch_store(&self) -> watch::Receiver<StoreHealth> {
        self.store.clone()
    }

    /// Whether the container engine answers.
    pub fn runtime(&self) -> RuntimeHealth {
        self.runtime.borrow().clone()
    }

    /// The store's settings that may lose records.
    pub fn hazards(&self) -> Vec<String> {
        self.hazards.borrow().clone()
    }

    /// Background tasks that died and are down or were restarted recently.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.tasks.troubles()
    }

    /// A task that died and cannot be restarted.
    pub fn beyond_repair(&self) -> Option<&str> {
        self.tasks.beyond_repair()
    }

    pub(super) fn foreign(&self) -> usize {
        self.foreign.load(Ordering::Relaxed)
    }

    /// Moves from one phase to the next, unless the phase has changed already.
    pub(crate) fn move_on(&self, from: ServingPhase, to: ServingPhase) {
        self.phase.send_if_modified(|phase| {
            let moves = *phase == from;
            if moves {
                *phase = to;
            }
            moves
        });
    }

    pub(crate) fn stopping(&self) {
        self.phase.send_replace(ServingPhase::Stopping);
    }

    /// Notes that `holder` is in charge. Returns whether that is new.
    pub(crate) fn stand_by(&self, holder: &str) -> bool {
        self.move_on(ServingPhase::Starting, ServingPhase::Standby);
        self.holder.send_if_modified(|known| {
            let news = known.as_deref() != Some(holder);
            if news {
                *known = Some(holder.to_owned());
            }
            news
        })
    }

    /// Called by the task that checks the container engine.
    pub(crate) fn runtime_sender(&self) -> &watch::Sender<RuntimeHealth> {
        &self.runtime
    }

    /// Called by the task that checks the store's settings.
    pub(crate) fn hazards_sender(&self) -> &watch::Sender<Vec<String>> {
        &self.hazards
    }

    pub(crate) fn saw_foreign(&self, count: usize) {
        self.foreign.store(count, Ordering::Relaxed);
    }
}
