//! Keeping the lease: proof that this process alone supervises the prefix (design, 4.5).

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    journal::Journal,
    ports::store::{Store, StoreError},
};

/// Renews the lease at a third of its time to live, until `stop`. One that is lost stops the journal, and thereby every
/// start and every end, at once; after that, nothing is left to do here.
pub(super) async fn keep_lease(store: Arc<dyn Store>, journal: Journal, ttl: Duration, stop: CancellationToken) {
    while !journal.lost().is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(ttl / 3) => {}
            () = stop.cancelled() => return,
            () = journal.lost().cancelled() => break,
        }
        match store.renew().await {
            Ok(memory) => {
                journal.heard(Ok(()));
                journal.check(memory);
            }
            // Writes are fenced by the lease: while the store cannot be asked, nothing is recorded, so nothing begins.
            Err(StoreError::Unavailable(error)) => {
                warn!(%error, "cannot renew the lease yet");
                journal.heard(Err(&error));
            }
            Err(StoreError::Held { holder }) => {
                error!(%holder, "the lease is lost");
                journal.lose(&holder);
            }
        }
    }
    stop.cancelled().await;
}
