//! How the supervisor is: the keeper writes it down here, and requests read it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::{
    domain::EpochSeconds,
    journal::StoreHealth,
    tasks::{Tasks, Trouble},
};

/// How far the supervisor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServingPhase {
    /// Another supervisor is in charge, and this one waits for its end.
    Standby,
    /// Sandboxes are being restored.
    Starting,
    /// Everything that the store has is known.
    Ready,
    /// It stops: nothing new is started.
    Stopping,
}

/// Whether the container engine answers.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeHealth {
    /// It was not asked yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down {
        /// Since when.
        since: EpochSeconds,
        /// What it says.
        error: String,
    },
}

impl RuntimeHealth {
    /// Whether it is known not to answer.
    pub fn is_down(&self) -> bool {
        matches!(self, Self::Down { .. })
    }
}

/// What the keeper knows of the supervisor's state.
pub struct Health {
    phase: watch::Sender<ServingPhase>,
    /// Who was in charge when this supervisor last asked.
    holder: watch::Sender<Option<String>>,
    store: watch::Receiver<StoreHealth>,
    runtime: watch::Sender<RuntimeHealth>,
    hazards: watch::Sender<Vec<String>>,
    tasks: Tasks,
    /// How many containers of another store's supervisor were seen.
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

    /// How far the supervisor is.
    pub fn phase(&self) -> ServingPhase {
        *self.phase.borrow()
    }

    /// How far the supervisor is, for those who wait for another phase.
    pub fn watch_phase(&self) -> watch::Receiver<ServingPhase> {
        self.phase.subscribe()
    }

    /// Who is in charge, while this supervisor is on standby.
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

    /// What in the store's settings may lose records.
    pub fn hazards(&self) -> Vec<String> {
        self.hazards.borrow().clone()
    }

    /// Background tasks that died: those that are down, and those that were started again lately.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.tasks.troubles()
    }

    /// What has died that cannot be started again.
    pub fn beyond_repair(&self) -> Option<&str> {
        self.tasks.beyond_repair()
    }

    pub(super) fn foreign(&self) -> usize {
        self.foreign.load(Ordering::Relaxed)
    }

    /// From one phase to the next, unless it has left that already.
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

    /// Waits for `holder`. Whether that is news.
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

    /// For the task that asks the container engine.
    pub(crate) fn runtime_sender(&self) -> &watch::Sender<RuntimeHealth> {
        &self.runtime
    }

    /// For the task that asks the store for its settings.
    pub(crate) fn hazards_sender(&self) -> &watch::Sender<Vec<String>> {
        &self.hazards
    }

    pub(crate) fn saw_foreign(&self, count: usize) {
        self.foreign.store(count, Ordering::Relaxed);
    }
}
