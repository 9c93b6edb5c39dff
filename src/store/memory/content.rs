//! The content of the store, and the effect of each write.

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

/// Counts writes since the store was created or the counts were reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Written {
    /// The number of applied batches.
    pub commits: u64,
    /// The number of writes in them.
    pub writes: u64,
    /// The size of the largest batch.
    pub largest_batch: usize,
}

/// The lease's holder.
#[derive(Debug)]
pub(super) struct Holder {
    /// Dangling when all handles of the holder are dropped: the supervisor is known to be dead.
    pub(super) alive: Weak<String>,
    pub(super) words: String,
    /// Keeps a holder without a handle alive.
    #[expect(dead_code, reason = "it works by being held")]
    pub(super) immortal: Option<Arc<String>>,
}

/// A set of members, sorted for paging.
pub(super) type Set = BTreeMap<Vec<u8>, EpochSeconds>;

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) records: HashMap<Vec<u8>, Found>,
    pub(super) active: Set,
    pub(super) tombstones: Set,
    pub(super) quarantine: BTreeMap<Vec<u8>, Quarantined>,
    pub(super) lease: Option<Holder>,
    /// The time of a clean stop, until the lease is next taken.
    pub(super) stopped: Option<EpochSeconds>,
    /// Set when all data was lost, until the lease is next kept.
    pub(super) wiped: bool,
    /// How much of the grace after a restart is used up.
    pub(super) grace_spent: Duration,
    /// Returned by [`Store::hazards`](crate::ports::store::Store::hazards).
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
                self.tombstones.insert(member.clone(), now + retention.as_secs_f64());
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

    /// Drops expired tombstones with their records.
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

    /// A page of a set.
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

    /// Whether the member is not in the active set or has no record.
    pub(super) fn has_lost(&self, member: &[u8]) -> bool {
        !self.active.contains_key(member) || self.found(member) == Found::Nothing
    }

    /// Gives `identity` the lease, unless another living supervisor holds it.
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

    /// Checks that this supervisor holds the lease. Takes it again after all data was lost.
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

/// Interprets the time of a clean stop. A time in the future only tells that the clock was set.
fn last_stop(stopped: Option<EpochSeconds>, now: EpochSeconds) -> LastStop {
    let ago = stopped.and_then(|stopped| Duration::try_from_secs_f64(now - stopped).ok());
    ago.map_or(LastStop::Unclean, |ago| LastStop::Clean { ago })
}
