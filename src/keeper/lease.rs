//! Keeps the lease and charge of the engine, which prove that this process alone supervises the prefix
//! ([design: lease](crate::design::persistence::lease)).

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::state::Keeper;
use crate::{
    journal::Journal,
    loops::repeat,
    ports::store::{Store, StoreError},
};

impl Keeper {
    /// Checks that no other supervisor is in charge of the engine, before the store is touched.
    ///
    /// # Errors
    /// [`StoreError::Held`] when one is.
    pub(super) async fn must_be_alone(&self) -> Result<(), StoreError> {
        match self.shared.runtime.in_charge().await {
            Some(holder) => Err(StoreError::Held { holder }),
            None => Ok(()),
        }
    }

    /// Takes charge of the engine after the lease, or gives the lease back. Does not wait for an engine that does not
    /// answer: if another supervisor turns out to be in charge, that counts as a lost lease.
    ///
    /// # Errors
    /// [`StoreError::Held`] when another supervisor is in charge.
    pub(super) async fn take_charge(&self) -> Result<(), StoreError> {
        let store = self.patiently(|| self.store.id()).await?;
        if let Err(holder) = self.shared.runtime.take_charge(&store).await {
            if let Err(error) = self.store.release().await {
                warn!(%error, "the lease could not be given back; it runs out by itself");
            }
            return Err(StoreError::Held { holder });
        }
        Ok(())
    }

    /// Stops the journal, as a lost lease does, when another supervisor is found in charge.
    pub(super) async fn watch_charge(self: Arc<Self>) {
        if let Some(holder) = self.stop.run_until_cancelled(self.shared.runtime.usurped()).await {
            if !self.shared.journal.lost().is_cancelled() {
                error!(%holder, "another supervisor is in charge of these containers");
                self.shared.journal.lease_lost(&holder);
            }
            self.stop.cancelled().await;
        }
    }
}

/// Renews the lease at a third of its time to live, until `stop`. A lost lease stops the journal at once, and with it every
/// start and every end; then nothing is left to do here.
pub(super) async fn keep_lease(store: Arc<dyn Store>, journal: Journal, ttl: Duration, stop: CancellationToken) {
    let renewals = repeat(&stop, ttl / 3, None, || async {
        match store.renew().await {
            Ok(memory) => {
                journal.report_answer(Ok(()));
                journal.report_data(memory);
            }
            // Writes are fenced by the lease: while the store cannot be asked, nothing is recorded, so nothing begins.
            Err(StoreError::Unavailable(error)) => {
                warn!(%error, "cannot renew the lease yet");
                journal.report_answer(Err(&error));
            }
            Err(StoreError::Held { holder }) => {
                error!(%holder, "the lease is lost");
                journal.lease_lost(&holder);
            }
        }
        ttl / 3
    });
    journal.lost().run_until_cancelled(renewals).await;
    stop.cancelled().await;
}
