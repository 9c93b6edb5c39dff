//! The journal and its task.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    cell::ActivityCell,
    inbox::{Batch, Inbox, Ticket},
};
use crate::{
    clock::Clock,
    domain::{EpochSeconds, Moment, Sandbox, retry::Backoff},
    metrics::Metrics,
    ports::store::{DataState, Store, StoreError, Write},
    tasks::Tasks,
};

/// Retries are frequent, since everything waits for the store.
const RETRY: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2) };

/// Whether the store takes writes.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreHealth {
    /// The last commit succeeded, or there was none yet.
    Up,
    /// Commits fail.
    Down {
        /// Since when they have failed.
        since: EpochSeconds,
        /// The store's error.
        error: String,
    },
    /// Another supervisor holds the lease: nothing is written any more.
    Lost {
        /// A description of it.
        holder: String,
    },
}

/// The outcome of a write, for the caller whose request it records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The store has it.
    Stored,
    /// The store is down: pings and deadlines continue in memory, and the write follows as soon as possible
    /// ([design: outage](crate::design::persistence::outage)).
    InMemory,
    /// It will never be written: another supervisor is in charge, or this one has stopped.
    Refused,
}

impl StoreHealth {
    /// Whether new sandboxes can be recorded.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }
}

/// The writer. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    inbox: Mutex<Inbox>,
    wake: Notify,
    /// Changes whenever a batch is taken; actors compare it to find out whether they have to queue again.
    generation: AtomicU64,
    flush_interval: Duration,
    health: watch::Sender<StoreHealth>,
    reverted: Notify,
    /// Cancelled when the lease is lost: writing and terminating must stop at once
    /// ([design: lease](crate::design::persistence::lease)).
    lost: CancellationToken,
    closing: CancellationToken,
    done: CancellationToken,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Journal {
    /// Starts the writer as one of `tasks`. It flushes activity every three quarters of `flush_interval`, which leaves a quarter
    /// for the write.
    pub fn start(
        store: Arc<dyn Store>,
        flush_interval: Duration,
        clock: Clock,
        metrics: Arc<Metrics>,
        tasks: &Tasks,
    ) -> Self {
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            wake: Notify::new(),
            generation: AtomicU64::new(0),
            flush_interval,
            health: watch::Sender::new(StoreHealth::Up),
            reverted: Notify::new(),
            lost: CancellationToken::new(),
            closing: CancellationToken::new(),
            done: CancellationToken::new(),
            clock,
            metrics,
        });
        let (writers, every) = (shared.clone(), flush_interval.mul_f64(0.75));
        tasks.keep("journal writer", &shared.done, move |_| {
            Writer { shared: writers.clone(), store: store.clone() }.run(every)
        });
        Self { shared }
    }

    /// Writes a transition through.
    pub fn put(&self, sandbox: Sandbox, cell: &ActivityCell) -> Ticket {
        let ticket = self.inbox().put(sandbox, cell.clone(), self.moment());
        self.shared.wake.notify_one();
        ticket
    }

    /// Writes a tombstone through.
    pub fn bury(&self, sandbox: Sandbox, cell: &ActivityCell, retention: Duration) -> Ticket {
        let ticket = self.inbox().bury(sandbox, cell.clone(), retention, self.moment());
        self.shared.wake.notify_one();
        ticket
    }

    /// Writes something that belongs to no sandbox.
    pub fn write(&self, write: Write) -> Ticket {
        let ticket = self.inbox().other(write);
        self.shared.wake.notify_one();
        ticket
    }

    /// Queues a sandbox whose cell has changed for the next flush and returns the current generation. Has to be repeated once
    /// [`Self::generation`] differs, and after each transition.
    pub fn touch(&self, sandbox: &Sandbox, cell: &ActivityCell) -> u64 {
        let since = self.moment();
        self.inbox().touch(sandbox, cell, since)
    }

    /// The current generation. If it is the one in which the sandbox was queued, when read after a change of the cell, the next
    /// flush will read that change.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::SeqCst)
    }

    /// Whether activity at `moment` may be acknowledged before it is written: if the store's last activity is at most a flush
    /// interval older. A restart adds that interval to idle deadlines, so a crash cannot break the promise. Also true while
    /// the store is down.
    pub fn covers(&self, cell: &ActivityCell, moment: Moment) -> bool {
        cell.stored().plus(self.shared.flush_interval) >= moment || self.shared.is_down()
    }

    /// Notes that the store may have lost this sandbox: nothing covers its activity before it is written again.
    pub fn distrust(&self, cell: &ActivityCell) {
        cell.set_stored(Moment::DISTANT_PAST);
    }

    /// Watches the store's health.
    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        self.shared.health.subscribe()
    }

    /// Waits until `ticket` resolves or the store is known to be down.
    pub async fn outcome(&self, ticket: &mut Ticket) -> WriteOutcome {
        let mut health = self.health();
        tokio::select! {
            biased;
            stored = ticket => if stored { WriteOutcome::Stored } else { WriteOutcome::Refused },
            changed = health.wait_for(|health| !health.is_up()) => match changed.as_deref() {
                Ok(StoreHealth::Down { .. }) => WriteOutcome::InMemory,
                _ => WriteOutcome::Refused,
            },
        }
    }

    /// Resolves when the store has lost its data, so that every living sandbox has to be written again.
    pub async fn reverted(&self) {
        self.shared.reverted.notified().await;
    }

    /// Tells the journal whether the store still has its data.
    pub fn report_data(&self, state: DataState) {
        self.shared.report_data(state);
    }

    /// Cancelled when the lease is lost.
    pub fn lost(&self) -> &CancellationToken {
        &self.shared.lost
    }

    /// Tells the journal that the lease is lost.
    pub fn lease_lost(&self, holder: &str) {
        self.shared.lease_lost(holder);
    }

    /// Tells the journal how the store answered another call: it may be down while nothing is being written.
    pub fn report_answer(&self, answer: Result<(), &str>) {
        match answer {
            Err(problem) => self.shared.went_down(problem),
            // The next commit will tell.
            Ok(()) if self.inbox().len() == 0 => _ = self.shared.came_up(),
            Ok(()) => {}
        }
    }

    /// The number of pending writes, and the age of the oldest in seconds.
    pub fn backlog(&self) -> (usize, f64) {
        let inbox = self.inbox();
        let age = inbox.oldest().map_or(Duration::ZERO, |oldest| self.moment().since(oldest));
        (inbox.len(), age.as_secs_f64())
    }

    /// Writes everything and stops; later writes are ignored. Gives up after `within` if the store is down, and returns the
    /// number of writes that are then missing.
    pub async fn close(&self, within: Duration) -> usize {
        self.shared.closing.cancel();
        let _ = tokio::time::timeout(within, self.shared.done.cancelled()).await;
        let mut inbox = self.inbox();
        inbox.closed = true;
        inbox.len()
    }

    /// Whether there was activity after [`Self::close`], which is never written.
    pub fn has_missed(&self) -> bool {
        self.inbox().missed
    }

    fn moment(&self) -> Moment {
        self.shared.clock.now().moment
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.shared.inbox()
    }
}

impl Shared {
    fn went_down(&self, problem: &str) {
        let now = self.clock.now().wall();
        self.health.send_if_modified(|health| match health {
            StoreHealth::Up => {
                warn!(error = problem, "the store does not answer; sandboxes go on in memory, and it is tried again");
                *health = StoreHealth::Down { since: now, error: problem.to_owned() };
                true
            }
            StoreHealth::Down { error, .. } => {
                problem.clone_into(error);
                false
            }
            StoreHealth::Lost { .. } => false,
        });
    }

    /// Returns for how many seconds the store was down, if it was. A lost lease stays lost.
    fn came_up(&self) -> Option<f64> {
        let mut down_since = None;
        self.health.send_if_modified(|health| {
            let StoreHealth::Down { since, .. } = health else { return false };
            down_since = Some(*since);
            *health = StoreHealth::Up;
            true
        });
        down_since.map(|since| self.clock.now().wall() - since)
    }

    fn is_down(&self) -> bool {
        matches!(*self.health.borrow(), StoreHealth::Down { .. })
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // No change under the lock can panic halfway.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report_data(&self, state: DataState) {
        if state == DataState::Reverted {
            warn!("the store has lost what it had; everything that lives is written again");
            self.reverted.notify_one();
        }
    }

    fn lease_lost(&self, holder: &str) {
        self.health.send_replace(StoreHealth::Lost { holder: holder.to_owned() });
        self.lost.cancel();
    }
}

/// A batch that is being written. Unless it is finished, its drop puts it back, also if the writer panics. If the lease is
/// lost, dropping it instead resolves its tickets: it will never be written.
struct UnderWay<'a> {
    shared: &'a Shared,
    batch: Batch,
    written: bool,
}

impl<'a> UnderWay<'a> {
    fn take(shared: &'a Shared, with_touched: bool) -> Self {
        let batch = shared.inbox().take(with_touched, &shared.generation);
        Self { shared, batch, written: false }
    }

    /// Notes that the batch is written.
    fn finish(mut self) -> Batch {
        self.written = true;
        std::mem::take(&mut self.batch)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.written && !self.shared.lost.is_cancelled() {
            self.shared.inbox().put_back(std::mem::take(&mut self.batch));
            if std::thread::panicking() {
                self.shared.went_down("the journal's writer died of a bug");
            }
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
}

impl Writer {
    async fn run(self, flush_every: Duration) {
        self.write(flush_every).await;
        self.shared.done.cancel();
    }

    /// Writes until the journal is closed or the lease is lost. If it panics, its batch is put back for its successor.
    async fn write(&self, flush_every: Duration) {
        let mut flush = tokio::time::interval_at(Instant::now() + flush_every, flush_every);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (due, closing) = tokio::select! {
                biased;
                () = self.shared.lost.cancelled() => return,
                () = self.shared.closing.cancelled() => (true, true),
                _ = flush.tick() => (true, false),
                () = self.shared.wake.notified() => (false, false),
            };
            loop {
                let batch = UnderWay::take(&self.shared, due);
                if batch.batch.is_empty() {
                    break;
                }
                if !self.commit(batch).await {
                    return;
                }
                if !self.shared.inbox().has_more(due) {
                    break;
                }
            }
            if closing && !self.shared.inbox().has_more(true) {
                return;
            }
        }
    }

    /// Writes a batch, retrying indefinitely; newer states replace those in it meanwhile. Returns false if the lease is lost.
    async fn commit(&self, mut under_way: UnderWay<'_>) -> bool {
        let mut failures = 0;
        loop {
            let writes = under_way.batch.writes(&self.shared.clock.now(), self.shared.flush_interval);
            match self.store.commit(&writes).await {
                Ok(state) => {
                    self.succeeded(under_way.finish(), writes.len());
                    self.shared.report_data(state);
                    return true;
                }
                Err(StoreError::Held { holder }) => {
                    error!(%holder, "the store has another supervisor now; stopping");
                    self.shared.lease_lost(&holder);
                    return false;
                }
                Err(StoreError::Unavailable(problem)) => {
                    failures += 1;
                    self.failed(&problem, failures);
                }
            }
            drop(under_way);
            tokio::select! {
                () = tokio::time::sleep(RETRY.jittered_wait(failures)) => {}
                () = self.shared.lost.cancelled() => return false,
            }
            under_way = UnderWay::take(&self.shared, true);
        }
    }

    fn succeeded(&self, batch: Batch, records: usize) {
        self.shared.inbox().written();
        if let Some(seconds) = self.shared.came_up() {
            info!(records, seconds, "the store takes writes again; everything that waited is written");
        }
        let lag = batch.oldest().map(|oldest| self.shared.clock.now().moment.since(oldest));
        self.shared.metrics.store_committed(records, lag.unwrap_or_default());
        batch.stored();
    }

    fn failed(&self, problem: &str, failures: u32) {
        self.shared.metrics.store_failed();
        if failures > 1 && failures.is_power_of_two() {
            warn!(error = problem, failures, "the store still takes no writes");
        }
        self.shared.went_down(problem);
    }
}
