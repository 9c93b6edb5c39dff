//! Containers that carry our labels and are not ours. They are left alone, and each is logged once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tracing::warn;

use crate::{
    domain::SandboxId,
    ports::runtime::{Listed, Stranger},
};

/// Those that the last reconcile saw, by their ids.
#[derive(Default)]
pub(super) struct Strangers(Mutex<HashMap<String, Stranger>>);

/// Those that a reconcile sees.
#[derive(Default)]
pub(super) struct Sighting(HashMap<String, (SandboxId, String, Stranger)>);

impl Sighting {
    /// Adds a container that is left alone.
    pub(super) fn add(&mut self, listed: &Listed, why: Stranger) {
        let Some(id) = &listed.container.container_id else { return };
        self.0.insert(id.clone(), (listed.container.sandbox.clone(), listed.name.clone(), why));
    }
}

impl Strangers {
    /// Logs those that were not seen before, and forgets those that are gone. Returns how many are of another store.
    pub(super) fn see(&self, sighting: Sighting) -> usize {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (container_id, (sandbox_id, name, why)) in &sighting.0 {
            if known.get(container_id) == Some(why) {
                continue;
            }
            match why {
                Stranger::Copy => warn!(
                    %sandbox_id, container_id, name,
                    "a container carries the labels of another one, as when its image was made of that one with `docker \
                     commit`; it is not ours and is left alone"
                ),
                Stranger::OfAnotherStore => warn!(
                    %sandbox_id, container_id, name,
                    "a container with our prefix was made by a supervisor with another store, which may live; it is not ours \
                     and is left alone: remove it with `docker rm` if nobody needs it any more"
                ),
            }
        }
        *known = sighting.0.into_iter().map(|(id, (.., why))| (id, why)).collect();
        known.values().filter(|why| **why == Stranger::OfAnotherStore).count()
    }
}
