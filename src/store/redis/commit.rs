//! Commits: a batch as calls of the script that applies it.

use std::sync::{PoisonError, atomic::Ordering};

use redis::Cmd;

use super::{lease::milliseconds, memo::Lease, quarantine, store::RedisStore};
use crate::{
    domain::EpochSeconds,
    ports::store::{DataState, StoreError, Write},
};

/// The most writes in one call of the script: the server answers nobody else while it runs.
const WRITES_PER_CALL: usize = 1_000;

impl RedisStore {
    /// Applies a batch: one round trip, all of it or nothing.
    pub(super) async fn apply(&self, batch: &[Write]) -> Result<DataState, StoreError> {
        if batch.is_empty() {
            return self.keep_lease().await;
        }
        // One at a time, so that the order of the numbers is the order in which commits are sent.
        let mut last = self.last_commit.lock().await;
        let lease = self.lease()?;
        if !self.send_commit(&lease, &mut last, batch).await? {
            self.note_reversal();
            self.send_commit(&lease, &mut last, batch).await?;
        }
        self.confirmed.store(*last, Ordering::Release);
        Ok(self.memory())
    }

    /// Sends a batch. False: the server has lost what was written before, and has not written this either.
    async fn send_commit(&self, lease: &Lease, last: &mut u64, batch: &[Write]) -> Result<bool, StoreError> {
        let mut calls = Vec::with_capacity(batch.len().div_ceil(WRITES_PER_CALL));
        for writes in batch.chunks(WRITES_PER_CALL) {
            *last = lease.epoch.max(*last) + 1;
            let mut call = self.commit_call(lease, Some(*last));
            writes.iter().for_each(|write| add(&mut call, write));
            calls.push(call);
        }
        let reply = self.scripts.commit.run_all(&self.connection, calls).await?;
        match &*reply.word {
            "applied" => {}
            "reverted" => return Ok(false),
            _ => return Err(self.refusal(&reply)),
        }
        for key in reply.texts() {
            tracing::warn!(key, "a key stood where a record belongs; it was renamed and is kept");
        }
        Ok(true)
    }

    /// The server has lost what was written: nothing is expected of it any more, and whoever asks next is told.
    pub(super) fn note_reversal(&self) {
        tracing::error!("the server came back empty, or as it was some time ago");
        self.confirmed.store(0, Ordering::Release);
        self.reverted.store(true, Ordering::Release);
    }

    /// Whether the server has kept what was written; said once.
    pub(super) fn memory(&self) -> DataState {
        if self.reverted.swap(false, Ordering::AcqRel) { DataState::Reverted } else { DataState::Kept }
    }

    /// A call of the script without writes; `number` is the commit's.
    pub(super) fn commit_call(&self, lease: &Lease, number: Option<u64>) -> Cmd {
        let keys = &self.keys;
        let all =
            [&*keys.lease, &keys.epoch, &keys.sequence, &keys.active, &keys.tombstones, &keys.quarantine, &keys.id];
        let mut call = self.scripts.commit.call(&all);
        call.arg(&lease.value).arg(lease.epoch).arg(milliseconds(self.settings.lease_ttl));
        call.arg(number.map(|number| number.to_string()).unwrap_or_default());
        call.arg(&keys.session).arg(&keys.foreign).arg(super::keys::RECORD_FIELD);
        call.arg(self.confirmed.load(Ordering::Acquire));
        call.arg(self.id.lock().unwrap_or_else(PoisonError::into_inner).as_deref().unwrap_or_default());
        call
    }
}

fn add(call: &mut Cmd, write: &Write) {
    match write {
        Write::Put { id, record, last_activity } => {
            call.arg("put").arg(id.as_str()).arg(&record[..]).arg(score(*last_activity));
        }
        Write::Bury { id, record, retention } => {
            call.arg("bury").arg(id.as_str()).arg(&record[..]).arg(milliseconds(*retention));
        }
        Write::Deactivate { member } => {
            call.arg("deactivate").arg(&member[..]);
        }
        Write::Quarantine { member, bytes, reason, at } => {
            call.arg("quarantine").arg(quarantine::field(member)).arg(quarantine::value(bytes, reason, *at));
        }
    }
}

/// A time as a score. The server refuses what is no number, and one bad time must not keep a batch from being written.
fn score(time: EpochSeconds) -> String {
    if time.is_nan() { "0".to_owned() } else { time.to_string() }
}
