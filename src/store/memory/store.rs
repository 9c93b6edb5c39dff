//! The store itself: the port, the tests' view into it, and the tests' hands on it.

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

/// Where the default wall clock begins: some day, far enough from zero to be told from a forgotten time.
const DEFAULT_EPOCH: EpochSeconds = 1_800_000_000.0;

/// A handle of a store in memory. Clones are the same supervisor; [`MemoryStore::reopen`] makes another one over the
/// same content. A supervisor whose last handle is dropped is dead, and its lease can be taken at once.
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
    /// An empty store. Its wall clock begins at a fixed day and goes with tokio's time, so that tombstones expire while
    /// time is paused and advanced.
    pub fn new() -> Self {
        let began = Instant::now();
        Self::with_clock(Arc::new(move || DEFAULT_EPOCH + began.elapsed().as_secs_f64()))
    }

    /// An empty store with a wall clock of the caller's.
    pub fn with_clock(now: WallClock) -> Self {
        let (content, faults) = (Mutex::default(), Mutex::default());
        let shared = Shared { content, faults, healed: Notify::new(), now };
        Self { shared: Arc::new(shared), identity: Arc::new("the first supervisor".to_owned()) }
    }

    /// Another supervisor over the same content, failures and clock, as after a restart.
    pub fn reopen(&self) -> Self {
        self.reopen_as("another supervisor")
    }

    /// [`MemoryStore::reopen`] under a name, which whoever finds the lease held is told.
    pub fn reopen_as(&self, name: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), identity: Arc::new(name.to_owned()) }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // A test that panicked while it looked leaves whole content behind: nothing is changed in two steps.
        self.shared.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a call through its failure point: waits, fails before the effect, or fails after it.
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
            // Registered before the look, so that a healing between the two is not missed.
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

/// Failing on purpose.
impl MemoryStore {
    /// The next `times` calls at `point` fail with `error` and do nothing.
    pub fn fail_next(&self, point: Point, times: usize, error: StoreError) {
        self.faults().before(point, times, error);
    }

    /// The next `times` calls at `point` do their work and then fail with `error`: an answer that was lost.
    pub fn fail_next_after_effect(&self, point: Point, times: usize, error: StoreError) {
        self.faults().after(point, times, error);
    }

    /// Every call at `point` fails with `error` and does nothing, until [`MemoryStore::heal`].
    pub fn fail_until_healed(&self, point: Point, error: StoreError) {
        self.faults().always(point, error);
    }

    /// The next `times` calls at `point` panic: a bug in an adapter.
    pub fn panic_next(&self, point: Point, times: usize) {
        self.faults().panic(point, times);
    }

    /// Every call fails, until [`MemoryStore::heal_all`].
    pub fn go_down(&self) {
        for point in Point::ALL {
            self.fail_until_healed(point, StoreError::Unavailable("the store is down, on purpose".to_owned()));
        }
    }

    /// Calls at `point` take `delay` (tokio's time) before they do anything.
    pub fn delay(&self, point: Point, delay: Duration) {
        self.faults().delay(point, delay);
    }

    /// Calls at `point` wait, without having done anything, until [`MemoryStore::heal`].
    pub fn hang(&self, point: Point) {
        self.faults().hang(point);
    }

    /// Ends everything that was planned for `point`.
    pub fn heal(&self, point: Point) {
        self.faults().heal(point);
        self.shared.healed.notify_waiters();
    }

    /// Ends everything that was planned.
    pub fn heal_all(&self) {
        *self.faults() = Faults::default();
        self.shared.healed.notify_waiters();
    }

    /// The holder of the lease is known to be dead from now on, although a handle of it is still around.
    pub fn bury_holder(&self) {
        self.content().lease = None;
    }

    /// Somebody else, who does not die, takes the lease away.
    pub fn usurp(&self, words: &str) {
        let usurper = Arc::new(words.to_owned());
        let alive = Arc::downgrade(&usurper);
        self.content().lease = Some(Holder { alive, words: words.to_owned(), immortal: Some(usurper) });
    }
}

/// Looking inside, and putting things there behind the supervisor's back.
impl MemoryStore {
    /// What stands where the record of `member` should be.
    pub fn found(&self, member: impl AsRef<[u8]>) -> Found {
        self.content().found(member.as_ref())
    }

    /// The bytes of a record, if there is one.
    pub fn record(&self, member: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        match self.found(member) {
            Found::Record(bytes) => Some(bytes),
            Found::Nothing | Found::Foreign(_) => None,
        }
    }

    /// The active set, in the order of its members.
    pub fn active_members(&self) -> Vec<(Vec<u8>, EpochSeconds)> {
        self.content().active.iter().map(|(member, score)| (member.clone(), *score)).collect()
    }

    /// The tombstones that have not expired, with the time at which they do.
    pub fn tombstone_members(&self) -> Vec<(Vec<u8>, EpochSeconds)> {
        let now = (self.shared.now)();
        let content = self.content();
        content.tombstones.iter().filter(|(_, at)| **at > now).map(|(member, at)| (member.clone(), *at)).collect()
    }

    /// The quarantine, in the order of its members.
    pub fn quarantine(&self) -> Vec<Quarantined> {
        self.content().quarantine.values().cloned().collect()
    }

    /// Who holds the lease, in words.
    pub fn holder(&self) -> Option<String> {
        self.content().lease.as_ref().map(|holder| holder.words.clone())
    }

    /// How much has been written.
    pub fn written(&self) -> Written {
        self.content().written
    }

    /// Counts what is written afresh, and gives what it had counted.
    pub fn reset_written(&self) -> Written {
        std::mem::take(&mut self.content().written)
    }

    /// From now on, keeps every batch for [`MemoryStore::log`].
    pub fn keep_log(&self) {
        self.content().log.get_or_insert_default();
    }

    /// The batches that were applied since [`MemoryStore::keep_log`].
    pub fn log(&self) -> Vec<Vec<Write>> {
        self.content().log.clone().unwrap_or_default()
    }

    /// Puts a member into the active set, and nothing else.
    pub fn plant_member(&self, member: impl Into<Vec<u8>>, score: EpochSeconds) {
        self.content().active.insert(member.into(), score);
    }

    /// Puts a member into the active set, with any bytes as its record.
    pub fn plant(&self, member: impl Into<Vec<u8>>, score: EpochSeconds, bytes: impl Into<Vec<u8>>) {
        self.plant_found(member, score, Found::Record(bytes.into()));
    }

    /// Puts a member into the active set, with something that is no record in its place.
    pub fn plant_foreign(&self, member: impl Into<Vec<u8>>, score: EpochSeconds, what: &str) {
        self.plant_found(member, score, Found::Foreign(what.to_owned()));
    }

    fn plant_found(&self, member: impl Into<Vec<u8>>, score: EpochSeconds, found: Found) {
        let member = member.into();
        let mut content = self.content();
        content.active.insert(member.clone(), score);
        content.records.insert(member, found);
    }

    /// Loses one record, as an eviction does; its member stays.
    pub fn evict(&self, member: impl AsRef<[u8]>) {
        self.content().records.remove(member.as_ref());
    }

    /// Loses one member; its record stays.
    pub fn lose_member(&self, member: impl AsRef<[u8]>) {
        self.content().active.remove(member.as_ref());
    }

    /// From now on, its own settings may lose records in these ways.
    pub fn endanger(&self, hazards: &[&str]) {
        self.content().hazards = hazards.iter().map(|hazard| (*hazard).to_owned()).collect();
    }

    /// Loses everything, the lease included: a server that restarted empty. Whoever comes first may go on.
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
            // Its holder still has everything in memory.
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
