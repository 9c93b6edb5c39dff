//! The store: implements the port, and lets tests inspect and change its content.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Notify, time::Instant};

use super::{
    content::{Content, Holder, Written},
    faults::{Fate, Faults, Point},
};
use crate::{
    domain::{EpochSeconds, SandboxId},
    ports::store::{Cursor, DataState, Found, LastStop, Page, Quarantined, Store, StoreError, Stored, Write},
    store::WallClock,
};

/// The start of the default wall clock: far from zero, so that an unset time stands out.
const DEFAULT_EPOCH: EpochSeconds = 1_800_000_000.0;

/// A handle of a store in memory. Clones belong to the same supervisor; [`MemoryStore::reopen`] creates another supervisor
/// with the same content. A supervisor is dead once its last handle is dropped, and its lease can be taken at once.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    identity: Arc<String>,
}

struct Shared {
    content: Mutex<Content>,
    faults: Mutex<Faults>,
    healed: Notify,
    now: WallClock,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store. Its wall clock begins at a fixed time and follows tokio's clock, which can be paused.
    pub fn new() -> Self {
        let began = Instant::now();
        Self::with_clock(Arc::new(move || DEFAULT_EPOCH + began.elapsed().as_secs_f64()))
    }

    /// An empty store with the given wall clock.
    pub fn with_clock(now: WallClock) -> Self {
        let (content, faults) = (Mutex::default(), Mutex::default());
        let shared = Shared { content, faults, healed: Notify::new(), now };
        Self { shared: Arc::new(shared), identity: Arc::new("the first supervisor".to_owned()) }
    }

    /// Another supervisor with the same content, faults and clock, as after a restart.
    pub fn reopen(&self) -> Self {
        self.reopen_as("another supervisor")
    }

    /// [`MemoryStore::reopen`] under a name, which other supervisors are told when it holds the lease.
    pub fn reopen_as(&self, name: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), identity: Arc::new(name.to_owned()) }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // No change is made in two steps, so a panic leaves the content consistent.
        self.shared.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` with the faults of its point.
    async fn at<T>(
        &self,
        point: Point,
        work: impl FnOnce(&mut Content, EpochSeconds) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let delay = self.faults().delay_of(point);
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        loop {
            // Registered before the check, so that no change between is missed.
            let mut healed = std::pin::pin!(self.shared.healed.notified());
            healed.as_mut().enable();
            if !self.faults().hangs(point) {
                break;
            }
            healed.await;
        }
        let fate = self.faults().fate(point);
        match fate {
            Fate::Before(error) => return Err(error),
            Fate::Panics => panic!("on purpose, at {point:?}"),
            Fate::Well | Fate::After(_) => {}
        }
        let done = work(&mut self.content(), (self.shared.now)());
        match fate {
            Fate::After(error) => Err(error),
            Fate::Well | Fate::Before(_) | Fate::Panics => done,
        }
    }

    fn identity(&self) -> Weak<String> {
        Arc::downgrade(&self.identity)
    }
}

/// Injects faults.
impl MemoryStore {
    /// Makes the next `times` calls at `point` fail without an effect.
    pub fn fail_next(&self, point: Point, times: usize, error: StoreError) {
        self.faults().before(point, times, error);
    }

    /// Makes the next `times` calls at `point` fail after their effect, as if the answer was lost.
    pub fn fail_next_after_effect(&self, point: Point, times: usize, error: StoreError) {
        self.faults().after(point, times, error);
    }

    /// Makes every call at `point` fail without an effect, until [`MemoryStore::heal`].
    pub fn fail_until_healed(&self, point: Point, error: StoreError) {
        self.faults().always(point, error);
    }

    /// Makes the next `times` calls at `point` panic, like a bug in an adapter.
    pub fn panic_next(&self, point: Point, times: usize) {
        self.faults().panic(point, times);
    }

    /// Makes every call fail, until [`MemoryStore::heal_all`].
    pub fn go_down(&self) {
        for point in Point::ALL {
            self.fail_until_healed(point, StoreError::Unavailable("the store is down, on purpose".to_owned()));
        }
    }

    /// Delays calls at `point` by tokio's clock.
    pub fn delay(&self, point: Point, delay: Duration) {
        self.faults().delay(point, delay);
    }

    /// Makes calls at `point` hang before their effect, until [`MemoryStore::heal`].
    pub fn hang(&self, point: Point) {
        self.faults().hang(point);
    }

    /// Removes the faults of `point`.
    pub fn heal(&self, point: Point) {
        self.faults().heal(point);
        self.shared.healed.notify_waiters();
    }

    /// Removes all faults.
    pub fn heal_all(&self) {
        *self.faults() = Faults::default();
        self.shared.healed.notify_waiters();
    }

    /// Makes the lease's holder count as dead although it still has handles.
    pub fn bury_holder(&self) {
        self.content().lease = None;
    }

    /// Gives the lease to another supervisor, which never dies.
    pub fn usurp(&self, words: &str) {
        let usurper = Arc::new(words.to_owned());
        let alive = Arc::downgrade(&usurper);
        self.content().lease = Some(Holder { alive, words: words.to_owned(), immortal: Some(usurper) });
    }
}

/// Inspects and changes the content past the port.
impl MemoryStore {
    /// What is stored as the record of `member`.
    pub fn found(&self, member: impl AsRef<[u8]>) -> Found {
        self.content().found(member.as_ref())
    }

    /// The record's bytes, if there is one.
    pub fn record(&self, member: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        match self.found(member) {
            Found::Record(bytes) => Some(bytes),
            Found::Nothing | Found::Foreign(_) => None,
        }
    }

    /// The active set, sorted by member.
    pub fn active_members(&self) -> Vec<(Vec<u8>, EpochSeconds)> {
        self.content().active.iter().map(|(member, score)| (member.clone(), *score)).collect()
    }

    /// The tombstones that have not expired, with the times of their expiry.
    pub fn tombstone_members(&self) -> Vec<(Vec<u8>, EpochSeconds)> {
        let now = (self.shared.now)();
        let content = self.content();
        content.tombstones.iter().filter(|(_, at)| **at > now).map(|(member, at)| (member.clone(), *at)).collect()
    }

    /// The quarantine, sorted by member.
    pub fn quarantine(&self) -> Vec<Quarantined> {
        self.content().quarantine.values().cloned().collect()
    }

    /// A description of the lease's holder.
    pub fn holder(&self) -> Option<String> {
        self.content().lease.as_ref().map(|holder| holder.words.clone())
    }

    /// The counts of writes.
    pub fn written(&self) -> Written {
        self.content().written
    }

    /// Resets the counts of writes and returns the old ones.
    pub fn reset_written(&self) -> Written {
        std::mem::take(&mut self.content().written)
    }

    /// Starts to log batches for [`MemoryStore::log`].
    pub fn keep_log(&self) {
        self.content().log.get_or_insert_default();
    }

    /// The batches since [`MemoryStore::keep_log`].
    pub fn log(&self) -> Vec<Vec<Write>> {
        self.content().log.clone().unwrap_or_default()
    }

    /// Adds a member without a record to the active set.
    pub fn plant_member(&self, member: impl Into<Vec<u8>>, score: EpochSeconds) {
        self.content().active.insert(member.into(), score);
    }

    /// Adds a member with any bytes as its record to the active set.
    pub fn plant(&self, member: impl Into<Vec<u8>>, score: EpochSeconds, bytes: impl Into<Vec<u8>>) {
        self.plant_found(member, score, Found::Record(bytes.into()));
    }

    /// Adds a member with something other than a record to the active set.
    pub fn plant_foreign(&self, member: impl Into<Vec<u8>>, score: EpochSeconds, what: &str) {
        self.plant_found(member, score, Found::Foreign(what.to_owned()));
    }

    fn plant_found(&self, member: impl Into<Vec<u8>>, score: EpochSeconds, found: Found) {
        let member = member.into();
        let mut content = self.content();
        content.active.insert(member.clone(), score);
        content.records.insert(member, found);
    }

    /// Drops one record and keeps its member, as an eviction does.
    pub fn evict(&self, member: impl AsRef<[u8]>) {
        self.content().records.remove(member.as_ref());
    }

    /// Drops one member and keeps its record.
    pub fn lose_member(&self, member: impl AsRef<[u8]>) {
        self.content().active.remove(member.as_ref());
    }

    /// Sets the hazards.
    pub fn endanger(&self, hazards: &[&str]) {
        self.content().hazards = hazards.iter().map(|hazard| (*hazard).to_owned()).collect();
    }

    /// Drops everything including the lease, like a server that restarted empty. The first supervisor to renew the lease gets
    /// it.
    pub fn wipe(&self) {
        let mut content = self.content();
        let (written, log) = (content.written, content.log.take());
        *content = Content { written, log, wiped: true, ..Content::default() };
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn acquire(&self) -> Result<LastStop, StoreError> {
        self.at(Point::Acquire, |content, now| content.take_lease(&self.identity, now)).await
    }

    async fn try_acquire(&self) -> Result<LastStop, StoreError> {
        self.at(Point::Acquire, |content, now| {
            // The holder still has everything in memory.
            if content.wiped {
                return Err(StoreError::Held { holder: "whoever held it before everything was lost".to_owned() });
            }
            content.take_lease(&self.identity, now)
        })
        .await
    }

    async fn id(&self) -> Result<String, StoreError> {
        Ok(format!("{:p}", Arc::as_ptr(&self.shared)))
    }

    async fn renew(&self) -> Result<DataState, StoreError> {
        self.at(Point::Renew, |content, _| content.hold(&self.identity)).await
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.at(Point::Release, |content, _| {
            content.lease.take_if(|holder| holder.alive.ptr_eq(&self.identity()));
            Ok(())
        })
        .await
    }

    async fn hand_over(&self, silent_for: Duration) -> Result<(), StoreError> {
        self.at(Point::Release, |content, now| {
            if content.lease.take_if(|holder| holder.alive.ptr_eq(&self.identity())).is_some() {
                content.stopped = Some(now - silent_for.as_secs_f64());
            }
            Ok(())
        })
        .await
    }

    async fn commit(&self, batch: &[Write]) -> Result<DataState, StoreError> {
        self.at(Point::Commit, |content, now| {
            let memory = content.hold(&self.identity)?;
            content.apply(batch, now);
            Ok(memory)
        })
        .await
    }

    async fn get(&self, id: &SandboxId) -> Result<Option<Stored>, StoreError> {
        self.at(Point::Get, |content, _| Ok(content.get(id.as_str().as_bytes()))).await
    }

    async fn active(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.at(Point::Active, |content, _| Ok(content.page(&content.active, from, limit))).await
    }

    async fn tombstones(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.at(Point::Tombstones, |content, now| {
            content.expire(now);
            let mut page = content.page(&content.tombstones, from, limit);
            page.entries.retain(|entry| entry.found != Found::Nothing);
            Ok(page)
        })
        .await
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        self.at(Point::Quarantined, |content, _| Ok(content.quarantine.values().cloned().collect())).await
    }

    async fn missing(&self, ids: &[SandboxId]) -> Result<Vec<SandboxId>, StoreError> {
        self.at(Point::Missing, |content, _| {
            Ok(ids.iter().filter(|id| content.has_lost(id.as_str().as_bytes())).cloned().collect())
        })
        .await
    }

    async fn hazards(&self) -> Result<Vec<String>, StoreError> {
        self.at(Point::Hazards, |content, _| Ok(content.hazards.clone())).await
    }

    async fn grace_spent(&self) -> Result<Duration, StoreError> {
        self.at(Point::Grace, |content, _| Ok(content.grace_spent)).await
    }

    async fn spend_grace(&self, spent: Duration) -> Result<(), StoreError> {
        self.at(Point::Grace, |content, _| {
            if content.wiped {
                return Err(StoreError::Unavailable("everything was lost just now".to_owned()));
            }
            content.hold(&self.identity)?;
            content.grace_spent = spent;
            Ok(())
        })
        .await
    }
}
