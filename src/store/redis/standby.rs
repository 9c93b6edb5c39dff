//! Lets a standby watch the lease several times a second and take it once no other supervisor has a right to it.

use std::{sync::PoisonError, time::Duration};

use serde::Deserialize;
use tokio::time::Instant;

use super::{
    connection::pipeline,
    lease::{Attempt, held},
    memo::Vigil,
    store::RedisStore,
};
use crate::ports::store::{LastStop, StoreError};

/// The lease and the note of a stop, as read from the server.
struct Snapshot {
    lease: Option<String>,
    time_left: Option<Duration>,
    note: Option<String>,
}

/// The part that a lease and its holder's note have in common.
#[derive(Deserialize)]
struct Numbered {
    epoch: u64,
}

impl RedisStore {
    /// Takes the lease if no other supervisor holds it or may come back for it.
    pub(super) async fn try_take_lease(&self) -> Result<LastStop, StoreError> {
        let snapshot = match self.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                *self.vigil() = Vigil::Outage;
                return Err(error);
            }
        };
        self.may_take(snapshot)?;
        match self.try_once().await? {
            Attempt::Taken(last) => {
                *self.vigil() = Vigil::Fresh;
                Ok(last)
            }
            Attempt::Held { value, .. } => Err(held(&value)),
        }
    }

    /// Reads the server's state in one round trip, without a write.
    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut read = pipeline();
        read.cmd("GET").arg(&self.keys.lease).cmd("PTTL").arg(&self.keys.lease).cmd("GET").arg(&self.keys.stopped);
        let failed = |error: &redis::RedisError| self.connection.failed("failed to look at the lease", error);
        let mut answers = self.connection.bounded(self.connection.send(&read)).await?.into_iter();
        let mut next = || answers.next().transpose().map(Option::unwrap_or_default);
        let (lease, time_left, note) = match (next(), next(), next()) {
            (Ok(lease), Ok(time_left), Ok(note)) => (lease, time_left, note),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return Err(failed(&error)),
        };
        Ok(Snapshot {
            lease: redis::from_redis_value(lease).ok(),
            time_left: redis::from_redis_value(time_left).ok().map(Duration::from_millis),
            note: redis::from_redis_value(note).ok(),
        })
    }

    /// Fails with [`StoreError::Held`] if another supervisor holds the lease or may come back for it.
    fn may_take(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        let now = Instant::now();
        let mut vigil = self.vigil();
        if let Some(value) = snapshot.lease {
            let outcome = if self.is_abandoned(&value) { Ok(()) } else { Err(held(&value)) };
            *vigil = Vigil::Held { value, runs_out: snapshot.time_left.map(|time_left| now + time_left) };
            return outcome;
        }
        let given_back = |value: &str| snapshot.note.as_deref().is_some_and(|note| epoch_of(note) == epoch_of(value));
        let since = match &*vigil {
            Vigil::Fresh => return Ok(()),
            Vigil::Held { value, runs_out } if given_back(value) || runs_out.is_some_and(|at| at <= now) => {
                return Ok(());
            }
            // The server lost the lease, or somebody removed it: its holder has everything in memory and may come back.
            Vigil::Held { .. } | Vigil::Outage => now,
            Vigil::Missing { since } if now - *since > self.settings.lease_ttl => return Ok(()),
            Vigil::Missing { since } => *since,
        };
        *vigil = Vigil::Missing { since };
        let holder = "whoever held it before it vanished from the store, and may come back for it".to_owned();
        Err(StoreError::Held { holder })
    }

    fn vigil(&self) -> std::sync::MutexGuard<'_, Vigil> {
        self.vigil.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn epoch_of(text: &str) -> Option<u64> {
    serde_json::from_str::<Numbered>(text).ok().map(|numbered| numbered.epoch)
}
