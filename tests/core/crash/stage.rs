//! What outlives a supervisor (the store, the engine, the clock), and how one is started and stopped dead.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use actix::System;
use async_trait::async_trait;
use sandglass::{
    config::Settings,
    domain::{SandboxId, sandbox::Container as State},
    ports::store::{Cursor, DataState, LastStop, Page, Quarantined, Store, StoreError, Stored, Write},
    random,
    runtime::{Memory, memory::When},
    store::MemoryStore,
    supervisor::Supervisor,
};
use tokio::{runtime::Builder, sync::Notify, time::Instant};

use super::{
    bench::{id, settings, supervisor_over},
    model::Model,
};

/// A wall clock that runs while a supervisor lives, and is moved by hand in between.
pub(crate) struct Clock(Mutex<(i64, Option<Instant>)>);

impl Clock {
    fn nanos(&self) -> i64 {
        let (base, began) = *lock(&self.0);
        base + began.map_or(0, |began| i64::try_from(began.elapsed().as_nanos()).expect("years"))
    }

    /// Epoch seconds.
    pub(crate) fn now(&self) -> f64 {
        self.nanos() as f64 / 1e9
    }

    fn go(&self) {
        lock(&self.0).1 = Some(Instant::now());
    }

    fn stand(&self) {
        let nanos = self.nanos();
        *lock(&self.0) = (nanos, None);
    }
}

/// Counts the passages of all failure points, and burns at the one it was set to: neither that call nor any other
/// goes on.
#[derive(Default)]
pub(crate) struct Fuse {
    wire: Mutex<Wire>,
    burning: Notify,
}

#[derive(Default)]
struct Wire {
    length: Option<usize>,
    passed: usize,
    burnt: bool,
}

impl Fuse {
    fn set(&self, length: Option<usize>) {
        *lock(&self.wire) = Wire { length, ..Wire::default() };
    }

    /// The passages since it was set.
    pub(crate) fn passed(&self) -> usize {
        lock(&self.wire).passed
    }

    /// Disarms it, and returns the passages.
    pub(crate) fn disarm(&self) -> usize {
        let mut wire = lock(&self.wire);
        wire.length = None;
        wire.passed
    }

    /// Whether the call may go on, and whether the fuse burnt at this point.
    fn pass(&self) -> (bool, bool) {
        let mut wire = lock(&self.wire);
        if wire.burnt {
            return (false, false);
        }
        wire.passed += 1;
        wire.burnt = wire.length == Some(wire.passed);
        if wire.burnt {
            self.burning.notify_one();
        }
        (!wire.burnt, wire.burnt)
    }

    async fn burnt(&self) {
        while !lock(&self.wire).burnt {
            self.burning.notified().await;
        }
    }
}

/// The world.
pub(crate) struct Stage {
    pub(crate) settings: Settings,
    pub(crate) store: MemoryStore,
    pub(crate) engine: Memory,
    pub(crate) clock: Arc<Clock>,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) model: Arc<Mutex<Model>>,
}

impl Stage {
    pub(crate) fn new(seed: u64) -> Self {
        random::seed_jitter(seed);
        let settings = settings(&[
            ("lifecycle.restart_grace", "10"),
            ("docker.orphan_grace", "10"),
            ("docker.reconcile_interval", "10"),
        ]);
        let clock = Arc::new(Clock(Mutex::new((1_800_000_000_000_000_000, None))));
        let (fuse, model) = (Arc::new(Fuse::default()), Arc::new(Mutex::new(Model::new(&settings))));
        let seconds: sandglass::store::WallClock = Arc::new({
            let clock = clock.clone();
            move || clock.now()
        });
        let gate = {
            let (clock, fuse, model) = (clock.clone(), fuse.clone(), model.clone());
            move |call: &sandglass::runtime::memory::Call, when: When| {
                let (goes_on, burnt) = fuse.pass();
                let (now, what) = (clock.now(), format!("engine {:?} {when:?}", call.point));
                let mut model = lock(&model);
                match &call.sandbox {
                    Some(id) if goes_on || burnt => model.passage(now, &format!("{what} of {id}"), burnt),
                    _ if burnt => model.passage(now, &what, true),
                    _ => {}
                }
                goes_on
            }
        };
        let (store, engine) = (MemoryStore::with_clock(seconds.clone()), Memory::with_gate(seconds, Arc::new(gate)));
        Self { settings, store, engine, clock, fuse, model }
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        lock(&self.model)
    }

    /// Checks that each sandbox that was promised to live has a running container.
    pub(crate) fn look_at_containers(&self) {
        let (now, mut model) = (self.clock.now(), self.model());
        for name in model.ids() {
            if !matches!(self.engine.state_of(&id(&name)), Some(State::Running | State::Paused)) {
                model.container_has_ended(&name, now);
            }
        }
    }

    /// Lets this much time pass without a supervisor.
    pub(crate) fn idle(&self, nanos: i64) {
        lock(&self.clock.0).0 += nanos;
    }

    /// Runs a supervisor until `main` is over, or until the fuse burns (`None`). Then its runtime is dropped with all its
    /// tasks, so that it neither writes nor acts any more.
    pub(crate) fn live<T>(&self, fuse: Option<usize>, main: impl AsyncFnOnce(Arc<Supervisor>) -> T) -> Option<T> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let handle = runtime.handle().clone();
        let system = System::with_tokio_rt(|| runtime);
        let outcome = system.block_on(async {
            self.clock.go();
            self.fuse.set(fuse);
            self.model().starts(self.clock.now());
            let store = Fused { store: self.store.reopen(), fuse: self.fuse.clone(), stage: self.shared() };
            let wall: sandglass::clock::WallClock = Arc::new({
                let clock = self.clock.clone();
                move || clock.nanos()
            });
            let supervisor = supervisor_over(&self.settings, Arc::new(store), &self.engine, &wall);
            let outcome = tokio::select! {
                biased;
                () = self.fuse.burnt() => None,
                outcome = main(supervisor) => Some(outcome),
            };
            self.clock.stand();
            outcome
        });
        // Actors need a runtime while they are dropped.
        let _context = handle.enter();
        // The burnt fuse stops everything that they still try.
        *lock(&self.fuse.wire) = Wire { burnt: true, ..Wire { passed: self.fuse.passed(), ..Wire::default() } };
        drop(system);
        outcome
    }

    fn shared(&self) -> (Arc<Clock>, Arc<Mutex<Model>>) {
        (self.clock.clone(), self.model.clone())
    }
}

/// The store with the fuse before and after the effect of each call.
struct Fused {
    store: MemoryStore,
    fuse: Arc<Fuse>,
    stage: (Arc<Clock>, Arc<Mutex<Model>>),
}

impl Fused {
    async fn around<T>(&self, what: &str, call: impl Future<Output = T>) -> T {
        self.pass(what, When::Before).await;
        let outcome = call.await;
        self.pass(what, When::After).await;
        outcome
    }

    async fn pass(&self, what: &str, when: When) {
        let (goes_on, burnt) = self.fuse.pass();
        if burnt {
            let (clock, model) = &self.stage;
            lock(model).passage(clock.now(), &format!("store {what} {when:?}"), true);
        }
        if !goes_on {
            pending::<()>().await;
        }
    }
}

#[async_trait]
impl Store for Fused {
    async fn acquire(&self) -> Result<LastStop, StoreError> {
        self.around("acquire", self.store.acquire()).await
    }

    async fn try_acquire(&self) -> Result<LastStop, StoreError> {
        self.around("try_acquire", self.store.try_acquire()).await
    }

    async fn id(&self) -> Result<String, StoreError> {
        self.store.id().await
    }

    async fn hand_over(&self, silent_for: Duration) -> Result<(), StoreError> {
        self.around("hand_over", self.store.hand_over(silent_for)).await
    }

    async fn renew(&self) -> Result<DataState, StoreError> {
        self.around("renew", self.store.renew()).await
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.around("release", self.store.release()).await
    }

    async fn commit(&self, batch: &[Write]) -> Result<DataState, StoreError> {
        self.around("commit", self.store.commit(batch)).await
    }

    async fn get(&self, id: &SandboxId) -> Result<Option<Stored>, StoreError> {
        self.around("get", self.store.get(id)).await
    }

    async fn active(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.around("active", self.store.active(from, limit)).await
    }

    async fn tombstones(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.around("tombstones", self.store.tombstones(from, limit)).await
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        self.around("quarantined", self.store.quarantined()).await
    }

    // These calls change nothing that promises depend on, so they are no failure points.
    async fn missing(&self, ids: &[SandboxId]) -> Result<Vec<SandboxId>, StoreError> {
        self.store.missing(ids).await
    }

    async fn hazards(&self) -> Result<Vec<String>, StoreError> {
        self.store.hazards().await
    }

    async fn grace_spent(&self) -> Result<Duration, StoreError> {
        self.store.grace_spent().await
    }

    async fn spend_grace(&self, spent: Duration) -> Result<(), StoreError> {
        self.store.spend_grace(spent).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}
