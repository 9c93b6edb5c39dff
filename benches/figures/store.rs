//! Stores to measure with: one that keeps nothing, and one that counts the writes to another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sandglass::{
    domain::SandboxId,
    ports::store::{Cursor, DataState, Found, LastStop, Page, Quarantined, Store, StoreError, Stored, Write},
};

use crate::planted::{Planter, id_text};

/// A store that begins with planted records and discards all writes.
pub(crate) struct Nothing(pub(crate) Planter);

#[async_trait]
impl Store for Nothing {
    async fn acquire(&self) -> Result<LastStop, StoreError> {
        Ok(LastStop::Unclean)
    }

    async fn try_acquire(&self) -> Result<LastStop, StoreError> {
        self.acquire().await
    }

    async fn id(&self) -> Result<String, StoreError> {
        Ok(String::new())
    }

    async fn renew(&self) -> Result<DataState, StoreError> {
        Ok(DataState::Kept)
    }

    async fn release(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn hand_over(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn commit(&self, _: &[Write]) -> Result<DataState, StoreError> {
        Ok(DataState::Kept)
    }

    async fn get(&self, _: &SandboxId) -> Result<Option<Stored>, StoreError> {
        Ok(None)
    }

    async fn active(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        let from = from.and_then(|cursor| cursor.0.try_into().ok()).map_or(0, usize::from_ne_bytes);
        let until = (from + limit).min(self.0.count());
        let entry = |number| {
            let (record, score) = self.0.record(number);
            Stored { member: id_text(number).into_bytes(), score, found: Found::Record(record) }
        };
        let next = (until < self.0.count()).then(|| Cursor(until.to_ne_bytes().to_vec()));
        Ok(Page { entries: (from..until).map(entry).collect(), next })
    }

    async fn tombstones(&self, _: Option<Cursor>, _: usize) -> Result<Page, StoreError> {
        Ok(Page::default())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        Ok(Vec::new())
    }

    async fn missing(&self, _: &[SandboxId]) -> Result<Vec<SandboxId>, StoreError> {
        Ok(Vec::new())
    }

    async fn hazards(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn grace_spent(&self) -> Result<Duration, StoreError> {
        Ok(Duration::ZERO)
    }

    async fn spend_grace(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Counts the writes to another store.
pub(crate) struct Counting {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) counts: Arc<Counts>,
}

/// The writes to a store.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) commits: AtomicUsize,
    pub(crate) records: AtomicUsize,
    /// The maximum of records in a commit since the last question.
    pub(crate) most: AtomicUsize,
}

#[async_trait]
impl Store for Counting {
    async fn acquire(&self) -> Result<LastStop, StoreError> {
        self.inner.acquire().await
    }

    async fn try_acquire(&self) -> Result<LastStop, StoreError> {
        self.inner.try_acquire().await
    }

    async fn id(&self) -> Result<String, StoreError> {
        self.inner.id().await
    }

    async fn renew(&self) -> Result<DataState, StoreError> {
        self.inner.renew().await
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.inner.release().await
    }

    async fn hand_over(&self, silent_for: Duration) -> Result<(), StoreError> {
        self.inner.hand_over(silent_for).await
    }

    async fn commit(&self, batch: &[Write]) -> Result<DataState, StoreError> {
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        self.counts.records.fetch_add(batch.len(), Ordering::Relaxed);
        self.counts.most.fetch_max(batch.len(), Ordering::Relaxed);
        self.inner.commit(batch).await
    }

    async fn get(&self, id: &SandboxId) -> Result<Option<Stored>, StoreError> {
        self.inner.get(id).await
    }

    async fn active(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.inner.active(from, limit).await
    }

    async fn tombstones(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.inner.tombstones(from, limit).await
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        self.inner.quarantined().await
    }

    async fn missing(&self, ids: &[SandboxId]) -> Result<Vec<SandboxId>, StoreError> {
        self.inner.missing(ids).await
    }

    async fn hazards(&self) -> Result<Vec<String>, StoreError> {
        self.inner.hazards().await
    }

    async fn grace_spent(&self) -> Result<Duration, StoreError> {
        self.inner.grace_spent().await
    }

    async fn spend_grace(&self, spent: Duration) -> Result<(), StoreError> {
        self.inner.spend_grace(spent).await
    }
}
