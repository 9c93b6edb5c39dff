//! Takes, renews and releases the lease ([design: lease](crate::design::persistence::lease)).

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

/// How long to watch a lease beyond its time to live.
const WATCH_SLACK: Duration = Duration::from_secs(1);

/// The readable parts of a lease.
#[derive(Deserialize)]
struct Readable {
    token: String,
    #[serde(flatten)]
    holder: Holder,
}

/// The outcome of an attempt to take the lease.
pub(super) enum Attempt {
    Taken(LastStop),
    /// Another supervisor holds it.
    Held {
        value: String,
        /// `None` if it never expires.
        time_left: Option<Duration>,
    },
}

impl RedisStore {
    /// Takes the lease, or watches it for long enough to find out whether its holder lives.
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
            // A living holder extends its lease, and a new one changes it.
            let lives = seen.is_some_and(|(before, left)| before != value || time_left > left);
            patience = patience.max(time_left);
            if lives || began.elapsed() > patience + WATCH_SLACK {
                return Err(held(&value));
            }
            seen = Some((value, time_left));
            tokio::time::sleep(poll).await;
        }
    }

    /// Takes the lease if it is free or abandoned.
    pub(super) async fn try_once(&self) -> Result<Attempt, StoreError> {
        let attempt = self.try_to_take("").await?;
        match &attempt {
            Attempt::Held { value, .. } if self.is_abandoned(value) => self.try_to_take(value).await,
            _ => Ok(attempt),
        }
    }

    /// Tries to take the lease, replacing `abandoned`.
    async fn try_to_take(&self, abandoned: &str) -> Result<Attempt, StoreError> {
        let keys = [&*self.keys.lease, &self.keys.epoch, &self.keys.sequence, &self.keys.stopped, &self.keys.id];
        let call = with(with(self.scripts.acquire.call(&keys), abandoned), &self.identity);
        let call = with(with(call, milliseconds(self.settings.lease_ttl)), fresh_id());
        let reply = self.connection.bounded(self.scripts.acquire.run(&self.connection, call)).await?;
        match &*reply.word {
            "taken" => {
                let epoch = reply.text(1).parse().map_err(|_| self.unexpected(&reply))?;
                // Commits are numbered from the lease's number on. A server that does not know that number has lost its data.
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

    /// Whether nobody will renew this lease: it is our own, after a lost answer, or that of a dead process.
    pub(super) fn is_abandoned(&self, value: &str) -> bool {
        serde_json::from_str::<Readable>(value)
            .is_ok_and(|lease| lease.token == self.token || lease.holder.process.is_dead(&self.process))
    }

    /// Renews the lease.
    pub(super) async fn keep_lease(&self) -> Result<DataState, StoreError> {
        let lease = self.lease()?;
        let reply = self.scripts.commit.run(&self.connection, self.commit_call(&lease, None)).await?;
        match &*reply.word {
            "applied" => Ok(self.data_state()),
            "reverted" => {
                self.note_reversal();
                Ok(self.data_state())
            }
            _ => Err(self.refusal(&reply)),
        }
    }

    /// Releases the lease; notes `silent_for` after a clean stop. Nothing can be written from here on, even if this fails.
    pub(super) async fn give_lease_back(&self, silent_for: Option<Duration>) -> Result<(), StoreError> {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(lease) = lease else { return Ok(()) };
        let mut call = self.scripts.release.call(&[&*self.keys.lease, &self.keys.stopped]);
        call.arg(&lease.value).arg(lease.epoch).arg(u8::from(silent_for.is_some()));
        call.arg(silent_for.unwrap_or_default().as_millis().to_string());
        self.scripts.release.run(&self.connection, call).await.map(|_| ())
    }

    /// The lease, if this process took it.
    pub(super) fn lease(&self) -> Result<Lease, StoreError> {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lease.ok_or_else(|| StoreError::Held { holder: "nobody: this supervisor has not taken the lease".to_owned() })
    }

    /// Converts the reply of a script that refused.
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

/// A candidate for the store's id.
fn fresh_id() -> String {
    format!("{:016x}", random::number::<u64>())
}

/// The error for a lease of another holder.
pub(super) fn held(value: &str) -> StoreError {
    let holder = match serde_json::from_str::<Readable>(value) {
        Ok(lease) => lease.holder.to_string(),
        Err(_) => format!("something that wrote {:?}", value.chars().take(100).collect::<String>()),
    };
    StoreError::Held { holder }
}

/// A time to live in whole milliseconds; at least one, as the server requires.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_MILLISECONDS)
}

/// A thousand years. The server adds a time to live to the current time and rejects an overflow.
const MAX_MILLISECONDS: u64 = 1_000 * 366 * 86_400 * 1_000;
