//! What the store holds, and what each write does to it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{
    domain::EpochSeconds,
    ports::store::{Cursor, DataState, Found, LastStop, Page, Quarantined, StoreError, Stored, Write},
};

/// How much has been written since the store was made or last asked to count afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Written {
    /// Batches that were applied.
    pub commits: u64,
    /// Writes in them.
    pub writes: u64,
    /// The most writes in one batch.
    pub largest_batch: usize,
}

/// Who holds the lease.
#[derive(Debug)]
pub(super) struct Holder {
    /// Gone when the last handle of its identity is: a supervisor that is known to be dead.
    pub(super) alive: Weak<String>,
    pub(super) words: String,
    /// Keeps a holder alive that has no handle.
    #[expect(dead_code, reason = "it works by being held")]
    pub(super) immortal: Option<Arc<String>>,
}

/// A set of members in an order that paging can resume in.
pub(super) type Set = BTreeMap<Vec<u8>, EpochSeconds>;

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) records: HashMap<Vec<u8>, Found>,
    pub(super) active: Set,
    pub(super) tombstones: Set,
    pub(super) quarantine: BTreeMap<Vec<u8>, Quarantined>,
    pub(super) lease: Option<Holder>,
    /// Since when nobody answers, if the last supervisor stopped cleanly and nobody has come since.
    pub(super) stopped: Option<EpochSeconds>,
    /// Everything was lost, and nobody has come since.
    pub(super) wiped: bool,
    /// How much of the grace after a restart is used up.
    pub(super) grace_spent: Duration,
    /// What its operator should hear.
    pub(super) hazards: Vec<String>,
    pub(super) written: Written,
    pub(super) log: Option<Vec<Vec<Write>>>,
}

impl Content {
    /// Applies all writes in their order.
    pub(super) fn apply(&mut self, batch: &[Write], now: EpochSeconds) {
        for write in batch {
            self.apply_one(write, now);
        }
        self.written.commits += 1;
        self.written.writes += batch.len() as u64;
        self.written.largest_batch = self.written.largest_batch.max(batch.len());
        if let Some(log) = &mut self.log {
            log.push(batch.to_vec());
        }
    }

    fn apply_one(&mut self, write: &Write, now: EpochSeconds) {
        match write {
            Write::Put { id, record, last_activity } => {
                let member = id.as_str().as_bytes().to_vec();
                self.tombstones.remove(&member);
                self.active.insert(member.clone(), *last_activity);
                self.records.insert(member, Found::Record(record.clone()));
            }
            Write::Bury { id, record, retention } => {
                let member = id.as_str().as_bytes().to_vec();
                self.active.remove(&member);
                self.tombstones.insert(member.clone(), expiry(now, *retention));
                self.records.insert(member, Found::Record(record.clone()));
            }
            Write::Deactivate { member } => {
                self.active.remove(member);
            }
            Write::Quarantine { member, bytes, reason, at } => {
                let entry =
                    Quarantined { member: member.clone(), bytes: bytes.clone(), reason: reason.clone(), at: *at };
                self.quarantine.insert(member.clone(), entry);
            }
        }
    }

    /// Lets go of the tombstones whose time has come, with their records.
    pub(super) fn expire(&mut self, now: EpochSeconds) {
        let records = &mut self.records;
        self.tombstones.retain(|member, expires| {
            let stays = *expires > now;
            if !stays {
                records.remove(member);
            }
            stays
        });
    }

    /// A page of one of the sets.
    pub(super) fn page(&self, set: &Set, from: Option<Cursor>, limit: usize) -> Page {
        let start = from.map_or(Bound::Unbounded, |cursor| Bound::Excluded(cursor.0));
        let mut members = set.range::<Vec<u8>, _>((start, Bound::Unbounded));
        let entries: Vec<Stored> =
            members.by_ref().take(limit.max(1)).map(|(member, score)| self.stored(member, *score)).collect();
        let more = members.next().is_some();
        let next = entries.last().filter(|_| more).map(|last| Cursor(last.member.clone()));
        Page { entries, next }
    }

    /// A member of the active set.
    pub(super) fn get(&self, member: &[u8]) -> Option<Stored> {
        self.active.get(member).map(|score| self.stored(member, *score))
    }

    fn stored(&self, member: &[u8], score: EpochSeconds) -> Stored {
        Stored { member: member.to_vec(), score, found: self.found(member) }
    }

    pub(super) fn found(&self, member: &[u8]) -> Found {
        self.records.get(member).cloned().unwrap_or(Found::Nothing)
    }

    /// Whether the member has lost its record or its place.
    pub(super) fn has_lost(&self, member: &[u8]) -> bool {
        !self.active.contains_key(member) || self.found(member) == Found::Nothing
    }

    /// Gives `identity` the lease, unless another one that lives holds it.
    pub(super) fn take_lease(&mut self, identity: &Arc<String>, now: EpochSeconds) -> Result<LastStop, StoreError> {
        let alive = Arc::downgrade(identity);
        if let Some(holder) = &self.lease
            && !holder.alive.ptr_eq(&alive)
            && holder.alive.strong_count() > 0
        {
            return Err(StoreError::Held { holder: holder.words.clone() });
        }
        self.lease = Some(Holder { alive, words: (**identity).clone(), immortal: None });
        Ok(last_stop(self.stopped.take(), now))
    }

    /// Whether this supervisor holds the lease, or may take it again since everything was lost.
    pub(super) fn hold(&mut self, identity: &Arc<String>) -> Result<DataState, StoreError> {
        let alive = Arc::downgrade(identity);
        match &self.lease {
            Some(holder) if holder.alive.ptr_eq(&alive) => Ok(DataState::Kept),
            None if std::mem::take(&mut self.wiped) => {
                self.lease = Some(Holder { alive, words: (**identity).clone(), immortal: None });
                Ok(DataState::Reverted)
            }
            Some(holder) => Err(StoreError::Held { holder: holder.words.clone() }),
            None => Err(StoreError::Held { holder: "nobody: this supervisor has not taken the lease".to_owned() }),
        }
    }
}

/// What a note means. One from the future tells that the clock was set, and nothing else.
fn last_stop(stopped: Option<EpochSeconds>, now: EpochSeconds) -> LastStop {
    let ago = stopped.and_then(|stopped| Duration::try_from_secs_f64(now - stopped).ok());
    ago.map_or(LastStop::Unclean, |ago| LastStop::Clean { ago })
}

/// When a tombstone that is written now expires.
fn expiry(now: EpochSeconds, retention: Duration) -> EpochSeconds {
    now + retention.as_secs_f64()
}
