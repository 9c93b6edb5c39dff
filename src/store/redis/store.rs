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

/// Settings of the store.
#[derive(Clone)]
pub struct Settings {
    /// `redis[s]://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `unix:///PATH`, or
    /// `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/SERVICE[/DATABASE]`. It is never logged.
    pub url: String,
    /// The certificates for `rediss://`.
    pub tls: TlsFiles,
    /// The prefix of all keys.
    pub prefix: String,
    /// The lease's time to live.
    pub lease_ttl: Duration,
    /// The timeout of a call.
    pub call_timeout: Duration,
    /// This supervisor's name, which others are told that find the lease held.
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

/// A store in Redis. Connects on first use and reconnects by itself.
pub struct RedisStore {
    pub(super) settings: Settings,
    pub(super) keys: Keys,
    pub(super) connection: Connection,
    pub(super) scripts: Scripts,
    pub(super) process: Process,
    /// Makes this process's leases unique.
    pub(super) token: String,
    /// An [`Identity`] as JSON, without its first brace.
    pub(super) identity: String,
    pub(super) lease: Mutex<Option<Lease>>,
    /// The store's id, as read with the lease. If the server loses it, it is written again.
    pub(super) id: Mutex<Option<String>>,
    pub(super) vigil: Mutex<Vigil>,
    /// The number of the last commit.
    pub(super) last_commit: tokio::sync::Mutex<u64>,
    /// The number of the last commit that the server confirmed.
    pub(super) confirmed: AtomicU64,
    /// Whether the server has lost its data and no call has returned that yet.
    pub(super) reverted: AtomicBool,
}

/// The holder as a lease describes it. The server prepends the lease's number and time.
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
    /// Creates a store without connecting.
    ///
    /// # Errors
    /// When the URL is malformed or a certificate cannot be read. The message does not contain the URL.
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

    /// Describes where the records are, without the password.
    pub fn place(&self) -> String {
        self.connection.place()
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn acquire(&self) -> Result<LastStop, StoreError> {
        // Each of its calls has a timeout; the sum is limited by the lease's time to live.
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
        self.connection.bounded(self.missing_records(ids)).await
    }

    async fn hazards(&self) -> Result<Vec<String>, StoreError> {
        self.connection.bounded(self.eviction_hazards()).await
    }

    async fn grace_spent(&self) -> Result<Duration, StoreError> {
        self.connection.bounded(self.read_grace()).await
    }

    async fn spend_grace(&self, spent: Duration) -> Result<(), StoreError> {
        self.connection.bounded(self.note_grace(spent)).await
    }
}
