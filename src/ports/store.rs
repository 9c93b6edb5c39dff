//! The seam to persistence.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{EpochSeconds, SandboxId};

/// One change to the store. Changes to the same sandbox are applied in the order they are given.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A sandbox that lives: its record, without expiry, and its place in the active set.
    Put {
        /// Whose.
        id: SandboxId,
        /// The record, JSON.
        record: Vec<u8>,
        /// Its last activity: the active set's score.
        last_activity: EpochSeconds,
    },
    /// A sandbox that ended: out of the active set, its record readable as a tombstone for `retention`.
    Bury {
        /// Whose.
        id: SandboxId,
        /// The record, JSON.
        record: Vec<u8>,
        /// How long the tombstone stays.
        retention: Duration,
    },
    /// A member of the active set that has no sandbox leaves the set; a record, if one is there, is left as it is. The
    /// member is given as the bytes that it was read as, which may be no valid id.
    Deactivate {
        /// The member.
        member: Vec<u8>,
    },
    /// Bytes that cannot be understood are kept, with the reason. A later one for the same member replaces it.
    Quarantine {
        /// The member of the active set that they belong to.
        member: Vec<u8>,
        /// The bytes as they were read.
        bytes: Vec<u8>,
        /// Why.
        reason: String,
        /// When.
        at: EpochSeconds,
    },
}

/// What stands where a member's record should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A record's bytes.
    Record(Vec<u8>),
    /// A successful read said that there is none.
    Nothing,
    /// Something that is no record at all, for example a key of another type.
    Foreign(String),
}

/// A member of the active set, or a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The member as it stands in the set: bytes, since a foreign writer may have put anything there.
    pub member: Vec<u8>,
    /// The set's score: for a member of the active set its last activity, for a tombstone the time it expires.
    pub score: EpochSeconds,
    /// Its record.
    pub found: Found,
}

/// One page of a set, in no particular order. A member may occur on more than one page, but none is left out.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Page {
    /// The members with their records, read in pipelines.
    pub entries: Vec<Stored>,
    /// Where the next page begins; `None`: this was the last one.
    pub next: Option<Cursor>,
}

/// A place in a set, opaque to everyone but the adapter that gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor(pub Vec<u8>);

/// Bytes in quarantine.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    /// The member that they belong to.
    pub member: Vec<u8>,
    /// The bytes as they were read.
    pub bytes: Vec<u8>,
    /// Why they are there.
    pub reason: String,
    /// Since when.
    pub at: EpochSeconds,
}

/// Why the store did not do what it was asked for. None of these is ever taken for "nothing there".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, answered with an error, or took too long: worth trying again.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody else supervises this prefix. Nothing was written.
    #[error("the store is held by another supervisor: {holder}")]
    Held {
        /// Who, in words for people.
        holder: String,
    },
}

/// Whether the store still has what was written to it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataState {
    /// As far as anyone can tell.
    Kept,
    /// It came back empty, or as it was some time ago: everything that lives has to be written again. Said once.
    Reverted,
}

/// How the supervisor before this one stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastStop {
    /// It crashed, lost the lease, could not write everything, or there was none.
    Unclean,
    /// It had written everything when it gave the lease back.
    Clean {
        /// For how long nobody has been there to answer.
        ago: Duration,
    },
}

/// A sandbox store. Implementations reconnect by themselves and bound every call in time.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes the lease: from here on, this process alone supervises the prefix
    /// ([design: lease](crate::design::persistence::lease)). Called before anything is read or written. A holder that
    /// is known to be dead is replaced at once, one that may live is waited for long enough to see whether it renews.
    /// Tells how the last one stopped, once: the note of a clean stop is gone with this.
    ///
    /// # Errors
    /// [`StoreError::Held`] when a living supervisor holds it.
    async fn acquire(&self) -> Result<LastStop, StoreError>;

    /// [`Store::acquire`] for a standby, which asks again and again, several times a second: it is cheap, never watches
    /// anyone, and does not disturb the holder. A lease that was given back, or that ran out while it was looked at, is
    /// taken at once. One that is missing for another reason, for example because the store lost its data, is its holder's
    /// for as long as a lease lives: it still has everything in memory.
    ///
    /// # Errors
    /// [`StoreError::Held`] when somebody holds it, or may come back for it.
    async fn try_acquire(&self) -> Result<LastStop, StoreError>;

    /// What tells this store from every other one: made once, and kept in it. Asked for after the lease was taken. A store
    /// that loses its data while the lease is held keeps its id; one that loses it otherwise is another store.
    ///
    /// # Errors
    /// As every call.
    async fn id(&self) -> Result<String, StoreError>;

    /// Keeps the lease; called at a third of its time to live or more often. Tells whether the store has kept what was
    /// written.
    ///
    /// # Errors
    /// [`StoreError::Held`] when it is lost.
    async fn renew(&self) -> Result<DataState, StoreError>;

    /// Gives the lease back, if this process holds it.
    ///
    /// # Errors
    /// As every call; the lease then runs out by itself.
    async fn release(&self) -> Result<(), StoreError>;

    /// [`Store::release`] after everything was written, with a note that says so: the next one to take the lease is told
    /// [`LastStop::Clean`]. `silent_for` is for how long nobody has been answered already.
    ///
    /// # Errors
    /// As every call; the lease then runs out by itself, and the note may be missing.
    async fn hand_over(&self, silent_for: Duration) -> Result<(), StoreError>;

    /// Applies all of `batch` in one round trip, durably, or none of it. Only the holder of the lease can write. Tells
    /// whether the store has kept what was written before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may or may not have been applied; writing it again is harmless.
    async fn commit(&self, batch: &[Write]) -> Result<DataState, StoreError>;

    /// One member of the active set with its record, in one round trip. `None`: it is not in the set, whatever record there
    /// may be.
    ///
    /// # Errors
    /// As every call.
    async fn get(&self, id: &SandboxId) -> Result<Option<Stored>, StoreError>;

    /// A page of the active set with its records; about `limit` members.
    ///
    /// # Errors
    /// As every call. A page is read completely or not at all.
    async fn active(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError>;

    /// A page of the tombstones that have not expired.
    ///
    /// # Errors
    /// As every call.
    async fn tombstones(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError>;

    /// All that is in quarantine.
    ///
    /// # Errors
    /// As every call.
    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError>;

    /// Which of these have lost their record or their place in the active set, for example to an eviction: one round trip for
    /// a thousand of them. Asked of sandboxes that live; one that ends meanwhile may be among the lost.
    ///
    /// # Errors
    /// As every call.
    async fn missing(&self, ids: &[SandboxId]) -> Result<Vec<SandboxId>, StoreError>;

    /// What in the store's own settings may lose records, in words for its operator; empty: nothing that is known.
    ///
    /// # Errors
    /// As every call.
    async fn hazards(&self) -> Result<Vec<String>, StoreError>;

    /// How much of the grace after a restart was used up by runs that did not outlive it; asked by the holder of the lease.
    ///
    /// # Errors
    /// As every call.
    async fn grace_spent(&self) -> Result<Duration, StoreError>;

    /// Notes how much of the grace is used up; zero when a run has outlived it. Only the holder of the lease can.
    ///
    /// # Errors
    /// As every call.
    async fn spend_grace(&self, spent: Duration) -> Result<(), StoreError>;
}
