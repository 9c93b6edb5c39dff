//! Waits until the supervisor that is in charge stops, and takes over.

use std::{sync::Arc, time::Duration};

use super::{restore::Restoration, state::Keeper};
use crate::{
    ports::store::{LastStop, StoreError},
    sandboxes::ServingPhase,
};

/// How often a standby asks for the lease.
const ASK_EVERY: Duration = Duration::from_millis(100);

impl Keeper {
    /// Like [`Keeper::begin`], but waits while another supervisor is in charge. Calls `tell` with that one's description,
    /// and with each successor's.
    ///
    /// # Errors
    /// [`StoreError::Held`] when the lease is lost again before everything is back.
    pub async fn begin_when_free(self: &Arc<Self>, tell: impl Fn(&str)) -> Result<Restoration, StoreError> {
        let mut last_seen = String::new();
        let last_stop = loop {
            match self.take_when_free().await {
                Err(StoreError::Held { holder }) => {
                    // A holder may have no name while it comes or goes, so only one that is seen twice is told.
                    let lasts = last_seen.is_empty() || holder == last_seen;
                    if lasts && self.sandboxes.health().stand_by(&holder) {
                        tell(&holder);
                    }
                    last_seen = holder;
                    tokio::time::sleep(ASK_EVERY).await;
                }
                outcome => break outcome?,
            }
        };
        self.sandboxes.health().move_on(ServingPhase::Standby, ServingPhase::Starting);
        self.begin_after(last_stop).await
    }

    /// Takes the lease and charge of the engine if both are free.
    async fn take_when_free(&self) -> Result<LastStop, StoreError> {
        self.must_be_alone().await?;
        let last_stop = self.patiently(|| self.store.try_acquire()).await?;
        self.take_charge().await?;
        Ok(last_stop)
    }
}
