//! The keeper's life: what it begins with, which tasks it keeps running, and how it stops.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use tokio::time::timeout;
use tracing::warn;

use super::{engine::retry_when_back, lease::keep_lease, restore::Restoration, state::Keeper};
use crate::{
    actor::SandboxHandle,
    domain::{SandboxId, sandbox::Event},
    ports::store::{LastStop, StoreError},
};

/// How many actors are asked at the same time.
const CHUNK: usize = 256;

impl Keeper {
    /// Takes the lease, keeps it, and restores what the store has. Waits indefinitely for a store that does not answer.
    ///
    /// # Errors
    /// [`StoreError::Held`] when another supervisor is in charge of the prefix, with this store or on this engine.
    pub async fn begin(self: &Arc<Self>) -> Result<Restoration, StoreError> {
        self.must_be_alone().await?;
        let last_stop = self.patiently(|| self.store.acquire()).await?;
        self.take_charge().await?;
        self.begin_after(last_stop).await
    }

    /// Keeps the lease, which was just taken, and restores what the store has.
    pub(super) async fn begin_after(self: &Arc<Self>, last_stop: LastStop) -> Result<Restoration, StoreError> {
        self.keep("lease", |keeper, _| {
            let (store, journal) = (keeper.store.clone(), keeper.shared.journal.clone());
            keep_lease(store, journal, keeper.settings.store.lease_ttl, keeper.stop.clone()).boxed()
        });
        self.keep("charge", |keeper, _| keeper.watch_charge().boxed());
        self.keep("retries", |keeper, deaths| {
            retry_when_back(keeper.shared.clone(), keeper.sandboxes.health().clone(), keeper.stop.clone(), deaths)
                .boxed()
        });
        let restoration = self.restore(last_stop).await?;
        // Nothing runs again before its rules are known. An engine that does not answer runs nothing, and the first
        // reconcile begins with the same.
        if self.has_walls.load(Ordering::Relaxed) {
            self.sandboxes.tend_walls().await;
        }
        self.keep("engine events", |keeper, _| keeper.follow_events().boxed());
        self.keep("reconcile", |keeper, _| keeper.reconcile_regularly().boxed());
        self.keep("audit", |keeper, _| keeper.audit_regularly().boxed());
        self.keep("sweep", |keeper, _| keeper.sweep_regularly().boxed());
        Ok(restoration)
    }

    /// Keeps a task of the keeper's own running until it stops.
    fn keep(self: &Arc<Self>, name: &'static str, task: fn(Arc<Self>, u32) -> BoxFuture<'static, ()>) {
        let keeper = self.clone();
        self.shared.tasks.keep(name, &self.stop, move |deaths| task(keeper.clone(), deaths));
    }

    /// Refuses new sandboxes from here on, and ends the waits of clients.
    pub fn announce_stop(&self) {
        self.silent_since.get_or_init(|| self.shared.clock.now().moment);
        self.sandboxes.health().stopping();
    }

    /// Stops taking new sandboxes, writes everything, and gives the lease back. No sandbox ends by this. Returns how many
    /// writes the store did not take within `within`.
    pub async fn shutdown(&self, within: Duration) -> usize {
        self.announce_stop();
        let began = self.shared.clock.now().moment;
        let slack_noted = timeout(within, self.note_slack()).await.unwrap_or(false);
        let left = within.saturating_sub(self.shared.clock.now().moment.since(began));
        let missing = self.shared.journal.close(left).await;
        self.stop.cancel();
        self.sandboxes.arbiters.stop();
        // A request that outlived its grace may have been acknowledged after the last write.
        let broken = self.shared.tasks.beyond_repair().is_some();
        let clean = slack_noted && missing == 0 && !self.shared.journal.has_missed() && !broken;
        let released = match self.silent_since.get().copied().filter(|_| clean) {
            Some(since) => self.store.hand_over(self.shared.clock.now().moment.since(since)).await,
            None => self.store.release().await,
        };
        if let Err(error) = released {
            warn!(%error, "the lease could not be given back; it runs out by itself");
        }
        self.shared.runtime.leave();
        missing
    }

    /// Has every record written that lacks the slack of its sandbox: an unclean stop before this run left it to be added by this
    /// run, in memory, and after a clean stop the next one adds only what the records tell
    /// ([design: slack](crate::design::persistence::slack)). Returns false if that is not known of one.
    async fn note_slack(&self) -> bool {
        if !self.owes_slack.load(Ordering::Relaxed) {
            return true;
        }
        let registry = &self.shared.registry;
        let noted = async |id: &SandboxId| {
            let Some(look) = registry.with_live(id, SandboxHandle::snapshot) else { return true };
            match look.await {
                Ok(sandbox) if !sandbox.is_alive() || sandbox.idle_slack().is_zero() => true,
                Ok(_) => {
                    let written = registry.with_live(id, |handle| {
                        handle.tell(Event::StoreReverted);
                        handle.snapshot()
                    });
                    // When the actor answers that, the write is on its way.
                    match written {
                        Some(written) => written.await.is_ok(),
                        None => true,
                    }
                }
                // It has left, or it died, and nobody knows what it owed.
                Err(_) => registry.with_live(id, SandboxHandle::is_dead).is_none_or(|dead| !dead),
            }
        };
        for chunk in registry.ids(false).chunks(CHUNK) {
            if !join_all(chunk.iter().map(noted)).await.into_iter().all(|noted| noted) {
                return false;
            }
        }
        true
    }

    /// Stops without writing anything, since another supervisor is in charge.
    pub fn abandon(&self) {
        self.announce_stop();
        self.stop.cancel();
        self.sandboxes.arbiters.stop();
        self.shared.runtime.leave();
    }
}
