//! The lease: taking it, keeping it, giving it back ([design: lease](crate::design::persistence::lease)).

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use serde::Deserialize;
use tokio::time::Instant;

use super::{
    memo::Lease,
    script::{Reply, with},
    store::RedisStore,
};
use crate::{
    host::Holder,
    ports::store::{DataState, LastStop, StoreError},
    random,
};

/// How much longer than its time to live a lease is watched before the watch is given up.
const WATCH_SLACK: Duration = Duration::from_secs(1);

/// Somebody's lease, as far as it can be read.
#[derive(Deserialize)]
struct Readable {
    token: String,
    #[serde(flatten)]
    holder: Holder,
}

/// How an attempt to take the lease ended.
pub(super) enum Attempt {
    Taken(LastStop),
    /// Somebody holds it.
    Held {
        value: String,
        /// `None`: it never expires.
        time_left: Option<Duration>,
    },
}

impl RedisStore {
    /// Takes the lease, or watches its holder for long enough to see whether it lives.
    pub(super) async fn take_lease(&self) -> Result<LastStop, StoreError> {
        let poll = (self.settings.lease_ttl / 20).clamp(Duration::from_millis(10), Duration::from_millis(250));
        let began = Instant::now();
        let mut seen: Option<(String, Duration)> = None;
        let mut patience = self.settings.lease_ttl;
        loop {
            let (value, time_left) = match self.try_once().await? {
                Attempt::Taken(last) => return Ok(last),
                Attempt::Held { value, time_left } => (value, time_left),
            };
            let Some(time_left) = time_left else { return Err(held(&value)) };
            // A holder that lives extends its lease, and one that takes over changes it.
            let lives = seen.is_some_and(|(before, left)| before != value || time_left > left);
            patience = patience.max(time_left);
            if lives || began.elapsed() > patience + WATCH_SLACK {
                return Err(held(&value));
            }
            seen = Some((value, time_left));
            tokio::time::sleep(poll).await;
        }
    }

    /// Takes the lease if it is free, or if nobody will ever keep it.
    pub(super) async fn try_once(&self) -> Result<Attempt, StoreError> {
        let attempt = self.try_to_take("").await?;
        match &attempt {
            Attempt::Held { value, .. } if self.is_abandoned(value) => self.try_to_take(value).await,
            _ => Ok(attempt),
        }
    }

    /// Tries to take the lease, also in the place of `abandoned`.
    async fn try_to_take(&self, abandoned: &str) -> Result<Attempt, StoreError> {
        let keys = [&*self.keys.lease, &self.keys.epoch, &self.keys.sequence, &self.keys.stopped, &self.keys.id];
        let call = with(with(self.scripts.acquire.call(&keys), abandoned), &self.identity);
        let call = with(with(call, milliseconds(self.settings.lease_ttl)), fresh_id());
        let reply = self.connection.bounded(self.scripts.acquire.run(&self.connection, call)).await?;
        match &*reply.word {
            "taken" => {
                let epoch = reply.text(1).parse().map_err(|_| self.unexpected(&reply))?;
                // Its number is the commits' first: a server that does not know it any more has lost everything.
                self.confirmed.store(epoch, Ordering::Release);
                self.reverted.store(false, Ordering::Release);
                *self.lease.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Lease { value: reply.text(0), epoch });
                *self.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply.text(3));
                let ago = reply.text(2).parse().ok().map(Duration::from_millis);
                Ok(Attempt::Taken(ago.map_or(LastStop::Unclean, |ago| LastStop::Clean { ago })))
            }
            "held" => {
                let time_left = reply.text(1).parse().ok().map(Duration::from_millis);
                Ok(Attempt::Held { value: reply.text(0), time_left })
            }
            _ => Err(self.refusal(&reply)),
        }
    }

    /// Whether a lease is one that nobody will ever keep: one of our own whose answer was lost, or a dead process'.
    pub(super) fn is_abandoned(&self, value: &str) -> bool {
        serde_json::from_str::<Readable>(value)
            .is_ok_and(|lease| lease.token == self.token || lease.holder.process.is_dead(&self.process))
    }

    /// Extends the lease.
    pub(super) async fn keep_lease(&self) -> Result<DataState, StoreError> {
        let lease = self.lease()?;
        let reply = self.scripts.commit.run(&self.connection, self.commit_call(&lease, None)).await?;
        match &*reply.word {
            "applied" => Ok(self.memory()),
            "reverted" => {
                self.note_reversal();
                Ok(self.memory())
            }
            _ => Err(self.refusal(&reply)),
        }
    }

    /// Gives the lease back; `silent_for` is told after a clean stop. Nothing can be written from here on, whether or not
    /// the server hears of it.
    pub(super) async fn give_lease_back(&self, silent_for: Option<Duration>) -> Result<(), StoreError> {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(lease) = lease else { return Ok(()) };
        let mut call = self.scripts.release.call(&[&*self.keys.lease, &self.keys.stopped]);
        call.arg(&lease.value).arg(lease.epoch).arg(u8::from(silent_for.is_some()));
        call.arg(silent_for.unwrap_or_default().as_millis().to_string());
        self.scripts.release.run(&self.connection, call).await.map(|_| ())
    }

    /// The lease that was taken.
    pub(super) fn lease(&self) -> Result<Lease, StoreError> {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lease.ok_or_else(|| StoreError::Held { holder: "nobody: this supervisor has not taken the lease".to_owned() })
    }

    /// Why a script refused.
    pub(super) fn refusal(&self, reply: &Reply) -> StoreError {
        match &*reply.word {
            "held" => held(&reply.text(0)),
            "lost" => StoreError::Held { holder: "another one, which took the lease and has ended since".to_owned() },
            "late" => self.connection.unavailable("a later commit came first"),
            "type" => self.connection.unavailable(&format!(
                "the key `{}` is a {} of somebody else's: rename it, or choose another prefix",
                reply.text(0),
                reply.text(1)
            )),
            _ => self.unexpected(reply),
        }
    }

    fn unexpected(&self, reply: &Reply) -> StoreError {
        self.connection.unavailable(&format!("an unexpected answer: {}", reply.word))
    }
}

/// What may become the store's id.
fn fresh_id() -> String {
    format!("{:016x}", random::number::<u64>())
}

/// The error for a lease that somebody else holds.
pub(super) fn held(value: &str) -> StoreError {
    let holder = match serde_json::from_str::<Readable>(value) {
        Ok(lease) => lease.holder.to_string(),
        Err(_) => format!("something that wrote {:?}", value.chars().take(100).collect::<String>()),
    };
    StoreError::Held { holder }
}

/// Whole milliseconds of a time to live: at least one, since the server knows no less.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_MILLISECONDS)
}

/// A thousand years: the server adds it to the time of the day, and refuses what overflows.
const MAX_MILLISECONDS: u64 = 1_000 * 366 * 86_400 * 1_000;
