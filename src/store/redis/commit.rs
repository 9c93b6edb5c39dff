//! Commits batches by calls of a script.

use std::sync::{PoisonError, atomic::Ordering};

use redis::Cmd;

use super::{lease::milliseconds, memo::Lease, quarantine, store::RedisStore};
use crate::{
    domain::EpochSeconds,
    ports::store::{DataState, StoreError, Write},
};

/// The most writes in one call of the script, during which the server answers nobody else.
const WRITES_PER_CALL: usize = 1_000;

impl RedisStore {
    /// Applies a batch as a whole or not at all, in one round trip.
    pub(super) async fn apply(&self, batch: &[Write]) -> Result<DataState, StoreError> {
        if batch.is_empty() {
            return self.keep_lease().await;
        }
        // One at a time, so that commits are sent in the order of their numbers.
        let mut last = self.last_commit.lock().await;
        let lease = self.lease()?;
        if !self.send_commit(&lease, &mut last, batch).await? {
            self.note_reversal();
            self.send_commit(&lease, &mut last, batch).await?;
        }
        self.confirmed.store(*last, Ordering::Release);
        Ok(self.data_state())
    }

    /// Sends a batch. Returns false if the server has lost its data and has not applied the batch.
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

    /// Notes that the server has lost its data, for the next [`Self::data_state`].
    pub(super) fn note_reversal(&self) {
        tracing::error!("the server came back empty, or as it was some time ago");
        self.confirmed.store(0, Ordering::Release);
        self.reverted.store(true, Ordering::Release);
    }

    /// Returns once that the server has lost its data.
    pub(super) fn data_state(&self) -> DataState {
        if self.reverted.swap(false, Ordering::AcqRel) { DataState::Reverted } else { DataState::Kept }
    }

    /// A call of the script, to which writes can be added; `number` is that of the commit.
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

/// Formats a time as a score. The server rejects NaN, and one bad time must not block a batch.
fn score(time: EpochSeconds) -> String {
    if time.is_nan() { "0".to_owned() } else { time.to_string() }
}
