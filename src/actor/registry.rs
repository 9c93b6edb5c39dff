//! Finds the actor or the tombstone of an id.

use std::sync::Arc;

use dashmap::{DashMap, mapref::entry::Entry as Slot};

use super::handle::SandboxHandle;
use crate::domain::{Moment, Sandbox, SandboxId};

/// A sandbox that ended, readable until its retention is over.
#[derive(Clone, Debug)]
pub struct Tombstone {
    /// The sandbox as it ended.
    pub sandbox: Arc<Sandbox>,
    /// When it is forgotten.
    pub until: Moment,
}

/// What an id leads to.
#[derive(Clone)]
pub enum Entry {
    /// An actor.
    Live(SandboxHandle),
    /// A tombstone.
    Ended(Tombstone),
}

/// All sandboxes by id. Every web worker looks them up here, at the same time.
#[derive(Default)]
pub struct Registry {
    live: DashMap<SandboxId, SandboxHandle>,
    ended: DashMap<SandboxId, Tombstone>,
}

impl Registry {
    /// Calls `use_it` with the actor of `id`, without cloning its address.
    pub fn with_live<T>(&self, id: &SandboxId, use_it: impl FnOnce(&SandboxHandle) -> T) -> Option<T> {
        self.live.get(id).map(|handle| use_it(&handle))
    }

    /// The actor of `id`.
    pub fn handle(&self, id: &SandboxId) -> Option<SandboxHandle> {
        self.live.get(id).map(|handle| handle.clone())
    }

    /// The actor or the tombstone of `id` at `now`.
    pub fn get(&self, id: &SandboxId, now: Moment) -> Option<Entry> {
        let live = || self.live.get(id).map(|handle| Entry::Live(handle.clone()));
        let ended = || {
            let tombstone = self.ended.get(id).filter(|tombstone| now < tombstone.until)?;
            Some(Entry::Ended(tombstone.clone()))
        };
        // Between the first two look-ups, a new sandbox may have replaced the tombstone.
        live().or_else(ended).or_else(live)
    }

    /// Inserts the actor that `start` makes. Replaces a tombstone, and calls `tell` with it. If `id` has an actor, returns
    /// that as the error and makes none.
    pub fn insert_with(
        &self,
        id: &SandboxId,
        tell: impl FnOnce(&Sandbox),
        start: impl FnOnce() -> SandboxHandle,
    ) -> Result<SandboxHandle, SandboxHandle> {
        match self.live.entry(id.clone()) {
            Slot::Occupied(occupied) => Err(occupied.get().clone()),
            Slot::Vacant(vacant) => {
                // Comes first, so that watchers hear of the old one's end before they hear of the new one.
                if let Some((_, tombstone)) = self.ended.remove(id) {
                    tell(&tombstone.sandbox);
                }
                let handle = start();
                vacant.insert(handle.clone());
                Ok(handle)
            }
        }
    }

    /// Replaces an actor by its tombstone. Every look-up finds one of the two.
    pub(super) fn bury(&self, sandbox: Sandbox, until: Moment) {
        let id = sandbox.id().clone();
        self.ended.insert(id.clone(), Tombstone { sandbox: Arc::new(sandbox), until });
        self.live.remove(&id);
    }

    /// Inserts a restored tombstone.
    pub fn insert_tombstone(&self, tombstone: Tombstone) {
        self.ended.insert(tombstone.sandbox.id().clone(), tombstone);
    }

    /// Calls `tell` with every tombstone, before its id can be used again.
    pub fn each_ended(&self, tell: impl Fn(&Sandbox)) {
        for entry in &self.ended {
            tell(&entry.value().sandbox);
        }
    }

    /// Drops the tombstones whose retention is over, and calls `tell` with each before its id can be used again.
    pub fn forget_expired(&self, now: Moment, tell: impl Fn(&Sandbox)) {
        self.ended.retain(|_, tombstone| {
            let stays = now < tombstone.until;
            if !stays {
                tell(&tombstone.sandbox);
            }
            stays
        });
    }

    /// Calls `use_it` with every actor.
    pub fn each_live(&self, mut use_it: impl FnMut(&SandboxHandle)) {
        for entry in &self.live {
            use_it(entry.value());
        }
    }

    /// Removes a dead actor, unless `id` has another one by now.
    pub fn remove_dead(&self, id: &SandboxId, dead: &SandboxHandle) -> bool {
        self.live.remove_if(id, |_, standing| standing.is_same(dead)).is_some()
    }

    /// The number of actors.
    pub fn live_count(&self) -> usize {
        self.live.len()
    }

    /// All ids after `after`, in order.
    pub fn ids_after(&self, after: Option<&SandboxId>, with_ended: bool) -> Vec<SandboxId> {
        let mut ids = self.ids(with_ended);
        ids.retain(|id| after.is_none_or(|after| id > after));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// All ids, in no order. One that ends just now may occur twice.
    pub fn ids(&self, with_ended: bool) -> Vec<SandboxId> {
        let mut ids: Vec<_> = self.live.iter().map(|entry| entry.key().clone()).collect();
        if with_ended {
            ids.extend(self.ended.iter().map(|entry| entry.key().clone()));
        }
        ids
    }
}
