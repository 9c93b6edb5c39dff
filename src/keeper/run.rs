//! The keeper's life: what it begins with, which tasks it keeps running, and how it stops.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tracing::warn;

use super::{engine::retry_when_back, lease::keep_lease, restore::Restoration, state::Keeper};
use crate::ports::store::{LastStop, StoreError};

impl Keeper {
    /// Takes the lease, keeps it, and restores what the store has. Waits for a store that does not answer, for as long as
    /// it takes.
    ///
    /// # Errors
    /// [`StoreError::Held`] when somebody else supervises the prefix, with this store or on this engine.
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

    /// Takes no new sandboxes from here on, and keeps nobody waiting.
    pub fn announce_stop(&self) {
        self.silent_since.get_or_init(|| self.shared.clock.now().moment);
        self.sandboxes.health().stopping();
    }

    /// Stops taking new sandboxes, writes everything, and gives the lease back. No sandbox ends by this. Returns how many
    /// writes the store did not take within `within`.
    pub async fn shutdown(&self, within: Duration) -> usize {
        self.announce_stop();
        let missing = self.shared.journal.close(within).await;
        self.stop.cancel();
        self.sandboxes.arbiters.stop();
        // A request that outlived its grace may have been acknowledged after the last write.
        let broken = self.shared.tasks.beyond_repair().is_some();
        let clean = missing == 0 && !self.shared.journal.has_missed() && !broken;
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

    /// Stops without writing anything: what another supervisor is in charge of is not ours to touch.
    pub fn abandon(&self) {
        self.announce_stop();
        self.stop.cancel();
        self.sandboxes.arbiters.stop();
        self.shared.runtime.leave();
    }
}
