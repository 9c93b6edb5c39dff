//! What this process knows of the walls.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use sandglass_agent::walls::Table;

use super::{addresses::Place, firewall::Firewall};
use crate::domain::egress::Egress;

/// The walls as this process knows them.
#[derive(Default)]
pub(super) struct Known {
    pub(super) state: tokio::sync::Mutex<State>,
    /// The containers whose starts are under way.
    starting: Arc<Mutex<HashSet<String>>>,
    gap: Mutex<Option<String>>,
    /// Whether this process is in the network namespace of the engine's host.
    local: AtomicBool,
}

#[derive(Default)]
pub(super) struct State {
    /// `None` before it is opened, and after the way to it broke.
    pub(super) firewall: Option<Firewall>,
    /// What was last written into it as a whole, and changed since.
    pub(super) written: Table,
    /// The walls by the containers' ids.
    pub(super) walls: HashMap<String, Wall>,
    /// Why it could not be opened. It is tried again when the walls are tended, and by who needs it.
    pub(super) refused: Option<String>,
}

pub(super) struct Wall {
    pub(super) place: Place,
    pub(super) egress: Egress,
    /// Whether it was set here since the walls were last tended: what is expected then may be older.
    pub(super) recent: bool,
}

/// The start of a container that is under way, until this is dropped.
pub(super) struct Starting {
    id: String,
    starting: Arc<Mutex<HashSet<String>>>,
}

impl Known {
    /// Notes that the start of a container is under way: until it ends, nothing is expected of it and its walls stay.
    pub(super) fn starting(&self, id: &str) -> Starting {
        locked(&self.starting).insert(id.to_owned());
        Starting { id: id.to_owned(), starting: Arc::clone(&self.starting) }
    }

    pub(super) fn is_starting(&self, id: &str) -> bool {
        locked(&self.starting).contains(id)
    }

    pub(super) fn set_local(&self, local: bool) {
        self.local.store(local, Ordering::Relaxed);
    }

    pub(super) fn is_local(&self) -> bool {
        self.local.load(Ordering::Relaxed)
    }

    pub(super) fn gap(&self) -> MutexGuard<'_, Option<String>> {
        locked(&self.gap)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        locked(&self.starting).remove(&self.id);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
