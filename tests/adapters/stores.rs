//! The three stores, with what contract tests need beside the port.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use redb::ReadableDatabase;
use redis::Commands;
use sandglass::{
    ports::store::{Page, Store, StoreError, Stored},
    store::{EmbeddedStore, MemoryStore, RedisStore, WallClock, embedded, redis as redis_store},
};
use tempfile::TempDir;

use crate::support::redis::RedisServer;

/// The prefix that stores in Redis use in tests.
pub(crate) const PREFIX: &str = "law";

/// A place of records that several supervisors can open.
#[async_trait]
pub(crate) trait World: Send + Sync {
    /// Makes an empty place.
    fn new() -> Self
    where
        Self: Sized;

    /// Opens the place for a supervisor, without taking the lease.
    fn supervisor(&self, name: &str) -> Box<dyn Store>;

    /// Takes the lease away from its holder.
    fn usurp(&self);

    /// Lets this much time pass for tombstones.
    async fn pass(&self, time: Duration);

    /// Reads the record of a member behind the store's back. The lease has to be free.
    fn left(&self, member: &str) -> Option<Vec<u8>>;
}

/// [`MemoryStore`].
pub(crate) struct Memory {
    pub(crate) store: MemoryStore,
    clock: Clock,
}

#[async_trait]
impl World for Memory {
    fn new() -> Self {
        let clock = Clock::default();
        Self { store: MemoryStore::with_clock(clock.wall()), clock }
    }

    fn supervisor(&self, name: &str) -> Box<dyn Store> {
        Box::new(self.store.reopen_as(name))
    }

    fn usurp(&self) {
        self.store.usurp("a usurper");
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn left(&self, member: &str) -> Option<Vec<u8>> {
        self.store.record(member)
    }
}

/// [`EmbeddedStore`].
pub(crate) struct Embedded {
    pub(crate) directory: TempDir,
    clock: Clock,
}

impl Embedded {
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("state").join("store.redb")
    }

    pub(crate) fn settings(&self, name: &str) -> embedded::Settings {
        let path = self.path();
        embedded::Settings { path, instance: name.to_owned(), now: self.clock.wall() }
    }
}

#[async_trait]
impl World for Embedded {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory"), clock: Clock::default() }
    }

    fn supervisor(&self, name: &str) -> Box<dyn Store> {
        Box::new(EmbeddedStore::open(self.settings(name)).expect("a store"))
    }

    fn usurp(&self) {
        // The lock cannot be taken away, so replace the file.
        std::fs::rename(self.path(), self.directory.path().join("taken")).expect("to move the file");
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn left(&self, member: &str) -> Option<Vec<u8>> {
        type Records = redb::TableDefinition<'static, &'static [u8], (f64, &'static [u8])>;
        let database = redb::Database::open(self.path()).expect("the file");
        let transaction = database.begin_read().expect("a transaction");
        ["sandboxes", "tombstones", "forgotten"].into_iter().find_map(|name| {
            let table = transaction.open_table(Records::new(name)).expect("a table");
            table.get(member.as_bytes()).expect("to read").map(|row| row.value().1.to_vec())
        })
    }
}

/// [`RedisStore`].
pub(crate) struct Redis {
    pub(crate) server: RedisServer,
}

impl Redis {
    pub(crate) fn settings(&self, name: &str) -> redis_store::Settings {
        redis_store::Settings { url: self.server.url(), ..Self::settings_of(name) }
    }

    /// Settings without a server.
    pub(crate) fn settings_of(name: &str) -> redis_store::Settings {
        redis_store::Settings {
            url: String::new(),
            tls: redis_store::TlsFiles::default(),
            prefix: PREFIX.to_owned(),
            lease_ttl: Duration::from_secs(60),
            call_timeout: Duration::from_secs(10),
            instance: name.to_owned(),
        }
    }

    pub(crate) fn store(&self, name: &str) -> RedisStore {
        RedisStore::connect(self.settings(name)).expect("a store")
    }

    /// The server's time.
    fn now(&self) -> f64 {
        let (seconds, microseconds): (f64, f64) =
            redis::cmd("TIME").query(&mut self.server.raw()).expect("the server's time");
        seconds + microseconds / 1e6
    }
}

#[async_trait]
impl World for Redis {
    fn new() -> Self {
        Self { server: RedisServer::start() }
    }

    fn supervisor(&self, name: &str) -> Box<dyn Store> {
        // Only missing renewals tell a dead holder from a living one, and no contract test waits for those.
        let lease_ttl = Duration::from_secs(5);
        let settings = redis_store::Settings { lease_ttl, ..self.settings(name) };
        Box::new(RedisStore::connect(settings).expect("a store"))
    }

    fn usurp(&self) {
        let lease =
            r#"{"epoch":9000000000000000,"token":"other","instance":"a usurper","host":"far","pid":1,"since":1}"#;
        let _: () = self.server.raw().set("law:lease", lease).expect("to take the lease");
    }

    async fn pass(&self, time: Duration) {
        let until = self.now() + time.as_secs_f64();
        while self.now() <= until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn left(&self, member: &str) -> Option<Vec<u8>> {
        self.server.raw().hget(format!("law-session:{member}"), "__sandbox__").expect("to read")
    }
}

/// A wall clock that stands still until it is advanced.
#[derive(Clone)]
struct Clock(Arc<Mutex<f64>>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(1_795_441_217.25)))
    }
}

impl Clock {
    fn wall(&self) -> WallClock {
        let now = Arc::clone(&self.0);
        Arc::new(move || *now.lock().expect("the clock"))
    }

    fn advance(&self, time: Duration) {
        *self.0.lock().expect("the clock") += time.as_secs_f64();
    }
}

/// One of the two sets.
#[derive(Clone, Copy)]
pub(crate) enum Set {
    Active,
    Tombstones,
}

/// A page of a set.
pub(crate) async fn page(store: &dyn Store, set: Set, page: &Page, limit: usize) -> Result<Page, StoreError> {
    match set {
        Set::Active => store.active(page.next.clone(), limit).await,
        Set::Tombstones => store.tombstones(page.next.clone(), limit).await,
    }
}

/// Reads a set page by page; each member has to come once and in order.
pub(crate) async fn all(store: &dyn Store, set: Set) -> Vec<Stored> {
    let mut entries = std::collections::BTreeMap::new();
    let mut last = Page::default();
    loop {
        last = page(store, set, &last, 100).await.expect("a page");
        entries.extend(last.entries.drain(..).map(|entry| (entry.member.clone(), entry)));
        if last.next.is_none() {
            return entries.into_values().collect();
        }
    }
}
