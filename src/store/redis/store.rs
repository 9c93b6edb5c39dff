//! The store and its settings.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde::Serialize;

use super::{
    connection::Connection,
    keys::Keys,
    memo::{Lease, Vigil},
    script::Script,
    source::TlsFiles,
};
use crate::{
    domain::SandboxId,
    host::Process,
    ports::store::{Cursor, DataState, LastStop, Page, Quarantined, Store, StoreError, Stored, Write},
    random,
};

/// How to reach a Redis server, and as whom.
#[derive(Clone)]
pub struct Settings {
    /// `redis[s]://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `unix:///PATH`, or
    /// `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/SERVICE[/DATABASE]`. It is never logged.
    pub url: String,
    /// The certificates for `rediss://`.
    pub tls: TlsFiles,
    /// What the keys begin with.
    pub prefix: String,
    /// How long the lease lives without being renewed.
    pub lease_ttl: Duration,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// What this supervisor is called, for whoever finds the lease held.
    pub instance: String,
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, tls, prefix, lease_ttl, call_timeout, instance } = self;
        formatter
            .debug_struct("Settings")
            .field("url", &"(not shown)")
            .field("tls", tls)
            .field("prefix", prefix)
            .field("lease_ttl", lease_ttl)
            .field("call_timeout", call_timeout)
            .field("instance", instance)
            .finish()
    }
}

/// A store in Redis. It connects when it is first used and reconnects by itself.
pub struct RedisStore {
    pub(super) settings: Settings,
    pub(super) keys: Keys,
    pub(super) connection: Connection,
    pub(super) scripts: Scripts,
    pub(super) process: Process,
    /// What tells our lease from every other one.
    pub(super) token: String,
    /// An [`Identity`] as JSON, without its first brace.
    pub(super) identity: String,
    pub(super) lease: Mutex<Option<Lease>>,
    /// The store's id as it was when the lease was taken. A server that loses it is told it again.
    pub(super) id: Mutex<Option<String>>,
    pub(super) vigil: Mutex<Vigil>,
    /// The number of the last commit.
    pub(super) last_commit: tokio::sync::Mutex<u64>,
    /// The number of the last commit that the server is known to have applied.
    pub(super) confirmed: AtomicU64,
    /// Whether the server was found to have lost what it had, and nobody has been told yet.
    pub(super) reverted: AtomicBool,
}

/// What a lease says of its holder; its number and time are put in front by the server.
#[derive(Serialize)]
struct Identity<'a> {
    token: &'a str,
    instance: &'a str,
    #[serde(flatten)]
    process: &'a Process,
}

pub(super) struct Scripts {
    pub(super) acquire: Script,
    pub(super) commit: Script,
    pub(super) release: Script,
    pub(super) grace: Script,
}

impl RedisStore {
    /// A store that will connect when it is first used: the server may be down by now.
    ///
    /// # Errors
    /// When the URL is malformed, or a certificate cannot be read. The message does not repeat the URL.
    pub fn connect(settings: Settings) -> Result<Self, StoreError> {
        let connection = Connection::new(&settings.url, &settings.tls, settings.call_timeout)?;
        let process = Process::this();
        let token = format!("{:032x}", random::number::<u128>());
        let identity = Identity { token: &token, instance: &settings.instance, process: &process };
        let identity = serde_json::json!(identity).to_string().split_off(1);
        Ok(Self {
            keys: Keys::under(&settings.prefix),
            settings,
            connection,
            scripts: Scripts {
                acquire: Script::new(include_str!("acquire.lua"), "failed to take the lease"),
                commit: Script::new(include_str!("commit.lua"), "failed to write"),
                release: Script::new(include_str!("release.lua"), "failed to give the lease back"),
                grace: Script::new(include_str!("grace.lua"), "failed to note the grace"),
            },
            process,
            token,
            identity,
            lease: Mutex::new(None),
            id: Mutex::new(None),
            vigil: Mutex::default(),
            last_commit: tokio::sync::Mutex::new(0),
            confirmed: AtomicU64::new(0),
            reverted: AtomicBool::new(false),
        })
    }
}

impl RedisStore {
    /// Where the records are, in words without a password.
    pub fn place(&self) -> String {
        self.connection.place()
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn acquire(&self) -> Result<LastStop, StoreError> {
        // Bounded by the lease's time to live; each of its calls is bounded by itself.
        self.take_lease().await
    }

    async fn try_acquire(&self) -> Result<LastStop, StoreError> {
        self.try_take_lease().await
    }

    async fn id(&self) -> Result<String, StoreError> {
        let id = self.id.lock().unwrap_or_else(PoisonError::into_inner).clone();
        id.ok_or_else(|| self.connection.unavailable("its id is known only to who has taken the lease"))
    }

    async fn renew(&self) -> Result<DataState, StoreError> {
        self.connection.bounded(self.keep_lease()).await
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.connection.bounded(self.give_lease_back(None)).await
    }

    async fn hand_over(&self, silent_for: Duration) -> Result<(), StoreError> {
        self.connection.bounded(self.give_lease_back(Some(silent_for))).await
    }

    async fn commit(&self, batch: &[Write]) -> Result<DataState, StoreError> {
        self.connection.bounded(self.apply(batch)).await
    }

    async fn get(&self, id: &SandboxId) -> Result<Option<Stored>, StoreError> {
        self.connection.bounded(self.active_member(id)).await
    }

    async fn active(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.connection.bounded(self.active_page(from, limit)).await
    }

    async fn tombstones(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.connection.bounded(self.tombstone_page(from, limit)).await
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        self.connection.bounded(self.quarantine_entries()).await
    }

    async fn missing(&self, ids: &[SandboxId]) -> Result<Vec<SandboxId>, StoreError> {
        self.connection.bounded(self.lost(ids)).await
    }

    async fn hazards(&self) -> Result<Vec<String>, StoreError> {
        self.connection.bounded(self.eviction()).await
    }

    async fn grace_spent(&self) -> Result<Duration, StoreError> {
        self.connection.bounded(self.read_grace()).await
    }

    async fn spend_grace(&self, spent: Duration) -> Result<(), StoreError> {
        self.connection.bounded(self.note_grace(spent)).await
    }
}
