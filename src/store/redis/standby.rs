//! The lease as a standby sees it: looked at several times a second, and taken as soon as that takes it from nobody.

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

/// What a look at the server shows.
struct Look {
    lease: Option<String>,
    time_left: Option<Duration>,
    note: Option<String>,
}

/// What is compared of a lease and of the note that its holder leaves.
#[derive(Deserialize)]
struct Numbered {
    epoch: u64,
}

impl RedisStore {
    /// Takes the lease if nobody holds it, and if nobody may come back for it.
    pub(super) async fn try_take_lease(&self) -> Result<LastStop, StoreError> {
        let look = match self.look().await {
            Ok(look) => look,
            Err(error) => {
                *self.vigil() = Vigil::Outage;
                return Err(error);
            }
        };
        self.may_take(look)?;
        match self.try_once().await? {
            Attempt::Taken(last) => {
                *self.vigil() = Vigil::Fresh;
                Ok(last)
            }
            Attempt::Held { value, .. } => Err(held(&value)),
        }
    }

    /// One round trip that writes nothing.
    async fn look(&self) -> Result<Look, StoreError> {
        let mut look = pipeline();
        look.cmd("GET").arg(&self.keys.lease).cmd("PTTL").arg(&self.keys.lease).cmd("GET").arg(&self.keys.stopped);
        let failed = |error: &redis::RedisError| self.connection.failed("failed to look at the lease", error);
        let mut answers = self.connection.bounded(self.connection.send(&look)).await?.into_iter();
        let mut next = || answers.next().transpose().map(Option::unwrap_or_default);
        let (lease, time_left, note) = match (next(), next(), next()) {
            (Ok(lease), Ok(time_left), Ok(note)) => (lease, time_left, note),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return Err(failed(&error)),
        };
        Ok(Look {
            lease: redis::from_redis_value(lease).ok(),
            time_left: redis::from_redis_value(time_left).ok().map(Duration::from_millis),
            note: redis::from_redis_value(note).ok(),
        })
    }

    /// # Errors
    /// [`StoreError::Held`] when it would be taken from somebody.
    fn may_take(&self, look: Look) -> Result<(), StoreError> {
        let now = Instant::now();
        let mut vigil = self.vigil();
        if let Some(value) = look.lease {
            let outcome = if self.is_abandoned(&value) { Ok(()) } else { Err(held(&value)) };
            *vigil = Vigil::Held { value, runs_out: look.time_left.map(|time_left| now + time_left) };
            return outcome;
        }
        let given_back = |value: &str| look.note.as_deref().is_some_and(|note| epoch_of(note) == epoch_of(value));
        let since = match &*vigil {
            Vigil::Fresh => return Ok(()),
            Vigil::Held { value, runs_out } if given_back(value) || runs_out.is_some_and(|at| at <= now) => {
                return Ok(());
            }
            // The server lost it, or somebody removed it: whoever held it has everything in memory, and comes back.
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
