//! The interface to persistence.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{EpochSeconds, SandboxId};

/// One change to the store. Changes are applied in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Writes the record of a living sandbox, without expiry, and its member of the active set.
    Put {
        /// The sandbox.
        id: SandboxId,
        /// The record, JSON.
        record: Vec<u8>,
        /// Its last activity: the active set's score.
        last_activity: EpochSeconds,
    },
    /// Removes an ended sandbox from the active set and keeps its record as a tombstone for `retention`.
    Bury {
        /// The sandbox.
        id: SandboxId,
        /// The record, JSON.
        record: Vec<u8>,
        /// How long the tombstone stays.
        retention: Duration,
    },
    /// Removes a member without a sandbox from the active set. Its record, if there is one, is kept.
    Deactivate {
        /// The bytes of the member, which need not be a valid id.
        member: Vec<u8>,
    },
    /// Keeps bytes that cannot be understood. Replaces an earlier entry of the same member.
    Quarantine {
        /// The member of the active set that the bytes belong to.
        member: Vec<u8>,
        /// The bytes as they were read.
        bytes: Vec<u8>,
        /// Why they are not understood.
        reason: String,
        /// When that was noticed.
        at: EpochSeconds,
    },
}

/// What is stored as a member's record.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A record's bytes.
    Record(Vec<u8>),
    /// Nothing, by a successful read.
    Nothing,
    /// Something other than a record, described in words: for example a key of another type.
    Foreign(String),
}

/// A member of the active set, or a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The member's bytes, which need not be a valid id: other programs can write to the store, too.
    pub member: Vec<u8>,
    /// The time of the last activity for a member of the active set, the time of expiry for a tombstone.
    pub score: EpochSeconds,
    /// What is stored as its record.
    pub found: Found,
}

/// One page of a set, in no particular order. A member may be on several pages, but none is left out.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Page {
    /// The members with their records.
    pub entries: Vec<Stored>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Cursor>,
}

/// A place in a set, opaque to callers.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor(pub Vec<u8>);

/// An entry of the quarantine.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    /// The member that the bytes belong to.
    pub member: Vec<u8>,
    /// The bytes as they were read.
    pub bytes: Vec<u8>,
    /// Why they are not understood.
    pub reason: String,
    /// When that was noticed.
    pub at: EpochSeconds,
}

/// Why a call to the store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, answered with an error, or took too long. The call can be retried.
    #[error("{0}")]
    Unavailable(String),
    /// Another supervisor holds the lease. Nothing was written.
    #[error("the store is held by another supervisor: {holder}")]
    Held {
        /// A description of that supervisor.
        holder: String,
    },
}

/// Whether the store still has what was written to it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataState {
    /// It has, as far as can be told.
    Kept,
    /// It came back empty or with old data, so every living sandbox has to be written again. Returned once.
    Reverted,
}

/// How the previous supervisor stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastStop {
    /// It crashed, lost the lease or could not write everything; or there was none.
    Unclean,
    /// It wrote everything before it released the lease.
    Clean {
        /// How long ago it stopped answering requests.
        ago: Duration,
    },
}

/// A sandbox store. Implementations reconnect by themselves and limit the time of each call.
///
/// Every call can fail with [`StoreError::Unavailable`]. Only the holder of the lease can write.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes the lease: from here on, this process alone supervises the prefix
    /// ([design: lease](crate::design::persistence::lease)). Called before anything is read or written.
    /// Replaces a holder that is known to be dead at once; watches any other one until it renews its lease or the lease runs
    /// out. Returns how the previous holder stopped and deletes its note of a clean stop.
    ///
    /// # Errors
    /// [`StoreError::Held`] when a living supervisor holds the lease.
    async fn acquire(&self) -> Result<LastStop, StoreError>;

    /// [`Store::acquire`] for a standby, which calls it several times a second: it is cheap and never waits for a holder.
    /// Takes a lease at once that was released or has run out. If the lease is missing for another reason, for example
    /// because the store lost its data, the holder keeps the right to it for a lease's time to live, since it still has
    /// everything in memory.
    ///
    /// # Errors
    /// [`StoreError::Held`] when a supervisor holds the lease or may come back for it.
    async fn try_acquire(&self) -> Result<LastStop, StoreError>;

    /// The store's unique id, which is generated once and stored in it. Called after the lease was taken. A store that loses
    /// its data while the lease is held keeps its id; otherwise it becomes another store.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn id(&self) -> Result<String, StoreError>;

    /// Renews the lease; called at least at a third of its time to live. Returns whether the store still has its data.
    ///
    /// # Errors
    /// [`StoreError::Held`] when the lease is lost.
    async fn renew(&self) -> Result<DataState, StoreError>;

    /// Releases the lease, if this process holds it.
    ///
    /// # Errors
    /// [`StoreError`]; the lease then runs out by itself.
    async fn release(&self) -> Result<(), StoreError>;

    /// Releases the lease after everything was written, with a note that makes the next [`Store::acquire`] return
    /// [`LastStop::Clean`]. `silent_for` is how long ago this supervisor stopped answering requests.
    ///
    /// # Errors
    /// [`StoreError`]; the lease then runs out by itself, and the note may be missing.
    async fn hand_over(&self, silent_for: Duration) -> Result<(), StoreError>;

    /// Applies `batch` durably, as a whole or not at all, in one round trip. Returns whether the store still has what was
    /// written before.
    ///
    /// # Errors
    /// After [`StoreError::Unavailable`] the batch may or may not have been applied; it is safe to repeat it.
    async fn commit(&self, batch: &[Write]) -> Result<DataState, StoreError>;

    /// Reads one member of the active set with its record, in one round trip. Returns `None` if it is not in the set, even if
    /// it has a record.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn get(&self, id: &SandboxId) -> Result<Option<Stored>, StoreError>;

    /// Reads a page of the active set with its records; about `limit` members.
    ///
    /// # Errors
    /// When the page cannot be read completely.
    async fn active(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError>;

    /// Reads a page of the tombstones that have not expired.
    ///
    /// # Errors
    /// When the page cannot be read completely.
    async fn tombstones(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError>;

    /// Reads all entries of the quarantine.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError>;

    /// Returns those of `ids` that have no record or are not in the active set, for example after an eviction. One round trip
    /// is enough for a thousand ids.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn missing(&self, ids: &[SandboxId]) -> Result<Vec<SandboxId>, StoreError>;

    /// Describes settings of the store that may lose records, for its operator.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn hazards(&self) -> Result<Vec<String>, StoreError>;

    /// How much of the grace after a restart was used up by runs that did not outlive it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn grace_spent(&self) -> Result<Duration, StoreError>;

    /// Notes how much of the grace is used up; zero when a run has outlived it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn spend_grace(&self, spent: Duration) -> Result<(), StoreError>;
}
