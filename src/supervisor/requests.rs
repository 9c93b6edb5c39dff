//! The supervisor itself, and what is asked of one sandbox.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use dashmap::DashSet;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    health::{RuntimeHealth, retry_when_back, watch_runtime},
    lease::keep_lease,
    plan::bounded,
    rehydrate::Restoration,
    rejection::Rejection,
    strangers::Strangers,
};
use crate::{
    actor::{Arbiters, Entry, Refusal, SandboxHandle, Shared, Until},
    config::Settings,
    domain::{ActivitySource, Denied, EndReason, Moment, Sandbox, SandboxId, Status, sandbox::Event},
    feed::Change,
    journal::StoreHealth,
    metrics::Scrape,
    ports::{
        runtime::Stranger,
        store::{LastStop, Store, StoreError},
    },
};

/// How far the supervisor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Another supervisor is in charge, and this one waits for its end.
    Standby,
    /// Sandboxes are being brought back.
    Starting,
    /// Everything that the store has is known.
    Ready,
    /// It stops: nothing new is started.
    Stopping,
}

/// What a supervisor is made of.
pub struct SupervisorParts {
    /// What the actors share.
    pub shared: Arc<Shared>,
    /// The threads they live on.
    pub arbiters: Arbiters,
    /// The store; read at the start, and for the lease.
    pub store: Arc<dyn Store>,
    /// The validated configuration.
    pub settings: Arc<Settings>,
}

/// Creates, finds, lists and rehydrates sandboxes.
pub struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) arbiters: Arbiters,
    pub(super) store: Arc<dyn Store>,
    pub(super) settings: Arc<Settings>,
    pub(super) creates: Arc<Semaphore>,
    pub(super) store_health: watch::Receiver<StoreHealth>,
    pub(super) runtime_health: watch::Receiver<RuntimeHealth>,
    pub(super) phase: watch::Sender<Phase>,
    /// Who was in charge when this one came.
    pub(super) holder: watch::Sender<Option<String>>,
    /// The requests that are being answered.
    in_flight: TaskTracker,
    /// Since when nobody new is answered, once it stops.
    silent_since: OnceLock<Moment>,
    /// What in the store's settings may lose records.
    pub(super) hazards: watch::Sender<Vec<String>>,
    pub(super) stop: CancellationToken,
    /// A supervisor that is given up leaves no task behind.
    _stopped_with_it: DropGuard,
    /// Ids whose records are lost and whose containers have not been looked for yet: nobody knows what they are.
    pub(super) unresolved: DashSet<SandboxId>,
    /// Containers with our labels that are not ours.
    pub(super) strangers: Strangers,
    /// Asks for a reconcile out of turn.
    pub(super) reconcile_now: Notify,
    /// Asks for a sweep out of turn.
    pub(super) sweep_now: Notify,
}

impl Supervisor {
    /// A supervisor that knows no sandbox yet: [`Self::begin`] brings them back.
    pub fn new(parts: SupervisorParts) -> Arc<Self> {
        let SupervisorParts { shared, arbiters, store, settings } = parts;
        let (sender, runtime_health) = watch::channel(RuntimeHealth::Unknown);
        let stop = CancellationToken::new();
        let supervisor = Arc::new(Self {
            creates: Arc::new(Semaphore::new(settings.docker.max_creates)),
            store_health: shared.journal.health(),
            runtime_health,
            phase: watch::Sender::new(Phase::Starting),
            holder: watch::Sender::new(None),
            hazards: watch::Sender::new(Vec::new()),
            in_flight: TaskTracker::new(),
            silent_since: OnceLock::new(),
            _stopped_with_it: stop.clone().drop_guard(),
            stop,
            unresolved: DashSet::new(),
            strangers: Strangers::default(),
            reconcile_now: Notify::new(),
            sweep_now: Notify::new(),
            shared,
            arbiters,
            store,
            settings,
        });
        let (shared, stop) = (supervisor.shared.clone(), supervisor.stop.clone());
        let keep = |name, task: fn(Arc<Shared>, CancellationToken, u32) -> BoxFuture<'static, ()>| {
            let (shared, stop) = (shared.clone(), stop.clone());
            shared.tasks.clone().keep(name, &stop.clone(), move |deaths| task(shared.clone(), stop.clone(), deaths));
        };
        keep("wall clock", |shared, stop, _| follow_wall(shared, stop).boxed());
        keep("store restorer", |shared, stop, deaths| restore_store(shared, stop, deaths).boxed());
        keep("tombstones", |shared, stop, _| forget_tombstones(shared, stop).boxed());
        let (watched, token) = (shared.clone(), stop.clone());
        shared
            .tasks
            .keep("runtime watch", &stop, move |_| watch_runtime(watched.clone(), sender.clone(), token.clone()));
        supervisor
    }

    /// Takes the lease, keeps it, and brings back what the store has. Waits for a store that does not answer, for as long
    /// as it takes.
    ///
    /// # Errors
    /// [`StoreError::Held`] when somebody else supervises the prefix, with this store or on this engine.
    pub async fn begin(self: &Arc<Self>) -> Result<Restoration, StoreError> {
        self.must_be_alone().await?;
        let last_stop = self.patiently(|| self.store.acquire()).await?;
        self.take_charge().await?;
        self.begin_after(last_stop).await
    }

    /// Keeps the lease, which was just taken, and brings back what the store has.
    pub(super) async fn begin_after(self: &Arc<Self>, last_stop: LastStop) -> Result<Restoration, StoreError> {
        self.keep("lease", |supervisor, _| {
            let (store, journal) = (supervisor.store.clone(), supervisor.shared.journal.clone());
            keep_lease(store, journal, supervisor.settings.store.lease_ttl, supervisor.stop.clone()).boxed()
        });
        self.keep("charge", |supervisor, _| supervisor.watch_charge().boxed());
        self.keep("retries", |supervisor, deaths| {
            let (shared, health) = (supervisor.shared.clone(), supervisor.runtime_health.clone());
            retry_when_back(shared, health, supervisor.stop.clone(), deaths).boxed()
        });
        let restoration = self.rehydrate(last_stop).await?;
        self.keep("engine events", |supervisor, _| supervisor.follow_events().boxed());
        self.keep("reconcile", |supervisor, _| supervisor.reconcile_regularly().boxed());
        self.keep("audit", |supervisor, _| supervisor.audit_regularly().boxed());
        self.keep("sweep", |supervisor, _| supervisor.sweep_regularly().boxed());
        Ok(restoration)
    }

    /// Keeps a task of the supervisor's own running until it stops.
    pub(super) fn keep(self: &Arc<Self>, name: &'static str, task: fn(Arc<Self>, u32) -> BoxFuture<'static, ()>) {
        let supervisor = self.clone();
        self.shared.tasks.keep(name, &self.stop, move |deaths| task(supervisor.clone(), deaths));
    }

    /// Proof of use. The idle clock is reset before this answers.
    ///
    /// # Errors
    /// [`Rejection`], when the sandbox is ending, ended, or unknown; its end then goes on.
    pub async fn touch(&self, id: &SandboxId, source: ActivitySource) -> Result<Sandbox, Rejection> {
        self.ask(id, Event::Activity(source)).await
    }

    /// Moves the active timeout to now and `timeout` (`None`: the sandbox's own), and counts as use.
    ///
    /// # Errors
    /// [`Rejection`].
    pub async fn keep_alive(&self, id: &SandboxId, timeout: impl Into<Option<Duration>>) -> Result<Sandbox, Rejection> {
        let timeout = match timeout.into() {
            Some(timeout) => bounded("timeout", timeout, &self.settings)?,
            None => self.get(id).await?.policy().active_timeout,
        };
        self.ask(id, Event::KeepAlive(timeout)).await
    }

    /// Freezes the container.
    ///
    /// # Errors
    /// [`Rejection`].
    pub async fn pause(&self, id: &SandboxId) -> Result<Sandbox, Rejection> {
        self.ask_for_status(id, Event::Pause, Status::Paused).await
    }

    /// Thaws the container; counts as use.
    ///
    /// # Errors
    /// [`Rejection`].
    pub async fn resume(&self, id: &SandboxId) -> Result<Sandbox, Rejection> {
        self.ask_for_status(id, Event::Resume, Status::Running).await
    }

    /// Proof of life from inside, which is not use.
    ///
    /// # Errors
    /// [`Rejection`].
    pub async fn heartbeat(&self, id: &SandboxId) -> Result<Sandbox, Rejection> {
        self.ask(id, Event::Heartbeat).await
    }

    /// Ends a sandbox. Answers once the intent is stored (or the store is down, and it waits), with `wait` when it is gone,
    /// at the latest after that time.
    ///
    /// # Errors
    /// [`Rejection`].
    pub async fn terminate(&self, id: &SandboxId, wait: Duration) -> Result<Sandbox, Rejection> {
        let ending = self.ask(id, Event::Terminate(EndReason::Requested)).await?;
        if wait.is_zero() {
            return Ok(ending);
        }
        let Some(gone) = self.shared.registry.with_live(id, |handle| handle.wait(Until::Gone)) else {
            return self.get(id).await;
        };
        let mut phase = self.phase.subscribe();
        let gone = tokio::select! {
            gone = gone => gone.ok(),
            // It takes longer, or longer than this process has.
            () = tokio::time::sleep(wait) => None,
            _ = phase.wait_for(|phase| *phase == Phase::Stopping) => None,
        };
        match gone {
            Some(gone) => Ok(gone),
            // Nobody answered, since it was gone already; or it is not gone yet.
            None => self.get(id).await,
        }
    }

    /// One sandbox; one that ended answers too, until its retention is over.
    ///
    /// # Errors
    /// [`Rejection`].
    pub async fn get(&self, id: &SandboxId) -> Result<Sandbox, Rejection> {
        if let Some(Ok(sandbox)) = self.with_handle(id, SandboxHandle::look).await {
            return Ok(sandbox);
        }
        match self.absent(id) {
            Rejection::Gone(sandbox) => Ok(Sandbox::clone(&sandbox)),
            rejection => Err(rejection),
        }
    }

    /// How far the supervisor is.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// How far the supervisor is, for those who wait for another phase.
    pub fn watch_phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Whether the store takes writes.
    pub fn store_health(&self) -> StoreHealth {
        self.store_health.borrow().clone()
    }

    /// Whether the container engine answers.
    pub fn runtime_health(&self) -> RuntimeHealth {
        self.runtime_health.borrow().clone()
    }

    /// What the actors share: the clock, the counters.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The validated configuration.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All counters as text.
    pub fn metrics(&self) -> String {
        let (journal_backlog, journal_oldest_seconds) = self.shared.journal.backlog();
        self.shared.metrics.render(&Scrape {
            journal_backlog,
            journal_oldest_seconds,
            streams: self.shared.feed.readers(),
            foreign: self.strangers.count(Stranger::OfAnotherStore),
            store_up: self.store_health.borrow().is_up(),
            runtime_up: *self.runtime_health.borrow() == RuntimeHealth::Up,
        })
    }

    /// The requests that are being answered: whoever stops waits for them before the last write.
    pub fn in_flight(&self) -> &TaskTracker {
        &self.in_flight
    }

    /// Takes no new sandboxes from here on, and keeps nobody waiting.
    pub fn announce_stop(&self) {
        self.silent_since.get_or_init(|| self.shared.clock.now().moment);
        self.phase.send_replace(Phase::Stopping);
    }

    /// Stops taking new sandboxes, writes everything, and gives the lease back. No sandbox ends by this. Returns how many
    /// writes the store did not take within `within`.
    pub async fn shutdown(&self, within: Duration) -> usize {
        self.announce_stop();
        let missing = self.shared.journal.close(within).await;
        self.stop.cancel();
        self.arbiters.stop();
        // A request that outlived its grace may have been acknowledged after the last write.
        let broken = self.shared.tasks.beyond_repair().is_some();
        let clean = missing == 0 && !self.shared.journal.has_missed() && !broken;
        let released = match self.silent_since.get().copied().filter(|_| clean) {
            Some(since) => self.store.hand_over(self.shared.clock.now().moment.since(since)).await,
            None => self.store.release().await,
        };
        if let Err(error) = released {
            tracing::warn!(%error, "the lease could not be given back; it runs out by itself");
        }
        self.shared.runtime.leave();
        missing
    }

    /// Stops without writing anything: what another supervisor is in charge of is not ours to touch.
    pub fn abandon(&self) {
        self.announce_stop();
        self.stop.cancel();
        self.arbiters.stop();
        self.shared.runtime.leave();
    }

    /// Has the threads of the actors end as by an accident.
    #[cfg(test)]
    pub(crate) fn kill_arbiters(&self) {
        self.arbiters.stop();
    }

    pub(super) fn must_be_ready(&self) -> Result<(), Rejection> {
        match self.phase() {
            Phase::Ready => Ok(()),
            Phase::Standby => Err(Rejection::Standby),
            Phase::Starting => Err(Rejection::Starting),
            Phase::Stopping => Err(Rejection::Stopping),
        }
    }

    /// What it means that no actor stands under `id`.
    pub(super) fn absent(&self, id: &SandboxId) -> Rejection {
        match self.shared.registry.get(id, self.shared.clock.now().moment) {
            Some(Entry::Ended(tombstone)) => Rejection::Gone(tombstone.sandbox),
            // Its actor has left with the threads of all actors.
            Some(Entry::Live(_)) if self.phase() == Phase::Stopping => Rejection::Stopping,
            Some(Entry::Live(_)) => {
                self.sweep_now.notify_one();
                Rejection::Internal(format!("sandbox {id} does not answer"))
            }
            None if self.phase() == Phase::Standby => Rejection::Standby,
            None if self.phase() == Phase::Starting || self.unresolved.contains(id) => Rejection::Starting,
            None => Rejection::NotFound(id.clone()),
        }
    }

    async fn ask(&self, id: &SandboxId, event: Event) -> Result<Sandbox, Rejection> {
        match self.with_handle(id, |handle| handle.ask(event)).await {
            Some(Ok(sandbox)) => Ok(sandbox),
            None | Some(Err(Refusal::Unanswered | Refusal::Denied(Denied::Gone { .. }))) => Err(self.absent(id)),
            Some(Err(refusal)) => Err(Rejection::of(id, refusal)),
        }
    }

    /// Something that a sandbox is asked to become; it may end meanwhile.
    async fn ask_for_status(&self, id: &SandboxId, event: Event, wanted: Status) -> Result<Sandbox, Rejection> {
        let sandbox = self.ask(id, event).await?;
        match sandbox.end() {
            None if sandbox.status() == wanted => Ok(sandbox),
            None => Err(Rejection::RuntimeFailed(format!("the sandbox is {} again", sandbox.status()))),
            Some(end) => Err(Rejection::Terminating { id: id.clone(), reason: end.reason }),
        }
    }

    /// Asks the actor of `id`; nobody answering may mean that it left, and that another one stands there now.
    async fn with_handle<F>(&self, id: &SandboxId, question: impl Fn(&SandboxHandle) -> F) -> Option<F::Output>
    where
        F: Future<Output = Result<Sandbox, Refusal>>,
    {
        let first = self.shared.registry.with_live(id, &question)?.await;
        match first {
            Err(Refusal::Unanswered | Refusal::Denied(Denied::Gone { .. })) => {
                Some(self.shared.registry.with_live(id, &question)?.await)
            }
            answer => Some(answer),
        }
    }
}

/// Follows a wall clock that is set anew, or that went on while the host slept. No deadline is on it; but the times in the
/// records are, so they are written anew, or the next start would read them as long past.
async fn follow_wall(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => return,
        }
        if let Some(seconds) = shared.clock.follow_wall() {
            tracing::warn!(seconds, "the wall clock was set; no deadline moves, and the records are written anew");
            shared.registry.each_live(SandboxHandle::wall_clock_set);
            let now = shared.clock.now();
            shared.registry.each_ended(|sandbox| shared.feed.publish(Change::Changed, sandbox, now));
        }
    }
}

/// Has everything that lives written again when the store has lost what it had. One that died may have been at it, so that
/// its successor begins with that.
async fn restore_store(shared: Arc<Shared>, stop: CancellationToken, deaths: u32) {
    if deaths > 0 {
        shared.registry.each_live(SandboxHandle::rewrite);
    }
    loop {
        tokio::select! {
            () = shared.journal.reverted() => shared.registry.each_live(SandboxHandle::rewrite),
            () = stop.cancelled() => return,
        }
    }
}

/// Drops tombstones whose retention is over, and lets a feed that nobody reads fall asleep.
async fn forget_tombstones(shared: Arc<Shared>, stop: CancellationToken) {
    let every = (shared.retention / 10).clamp(Duration::from_millis(500), Duration::from_secs(30));
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
        let now = shared.clock.now();
        shared.registry.forget_expired(now.moment, |sandbox| shared.feed.publish(Change::Forgotten, sandbox, now));
        shared.feed.tend(now.moment);
    }
}
