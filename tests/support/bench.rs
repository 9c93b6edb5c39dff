//! A whole supervisor over the memory adapters, on this thread, for tests with paused time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sandglass::{
    actor::Arbiters,
    app::{Adapters, assemble_on},
    clock::{Clock, WallClock},
    config::{Overrides, Settings},
    domain::{Sandbox, SandboxId},
    keeper::Restoration,
    ports::store::Store,
    runtime::Memory,
    sandboxes::{Create, Created, RequestError},
    store::MemoryStore,
    supervisor::Supervisor,
};
use tokio::time::Instant;

/// One store, one engine, and the current supervisor.
pub struct Bench {
    pub settings: Settings,
    pub store: MemoryStore,
    pub runtime: Memory,
    pub supervisor: Arc<Supervisor>,
    pub restoration: Restoration,
    wall: WallClock,
    jumped: Arc<AtomicI64>,
}

/// The defaults, with `overrides` (dotted keys) over them.
pub fn settings(overrides: &[(&str, &str)]) -> Settings {
    let mut flags = Overrides::default();
    for (key, value) in overrides {
        flags.set(*key, *value, "a test");
    }
    Settings::load(None, Vec::new(), flags).expect("the test's settings are valid")
}

pub fn id(text: &str) -> SandboxId {
    SandboxId::parse(text).expect("a valid id")
}

/// A wall clock that follows tokio's time, from a day in the far future on.
pub fn wall_clock() -> WallClock {
    let began = Instant::now();
    Arc::new(move || 1_800_000_000_000_000_000 + i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX))
}

impl Bench {
    pub async fn new(overrides: &[(&str, &str)]) -> Self {
        Self::over(overrides, |_| ()).await
    }

    /// Has people work in the sandboxes, which is on this machine.
    pub async fn with_agents(overrides: &[(&str, &str)]) -> Self {
        Self::begin(overrides, |_| (), Memory::with_agents).await
    }

    /// Begins after `plant` has written to the store.
    pub async fn over(overrides: &[(&str, &str)], plant: impl FnOnce(&MemoryStore)) -> Self {
        Self::begin(overrides, plant, |runtime| runtime).await
    }

    async fn begin(
        overrides: &[(&str, &str)],
        plant: impl FnOnce(&MemoryStore),
        equip: impl FnOnce(Memory) -> Memory,
    ) -> Self {
        tokio::time::pause();
        let (going, jumped) = (wall_clock(), Arc::new(AtomicI64::new(0)));
        let jumps = jumped.clone();
        let wall: WallClock = Arc::new(move || going() + jumps.load(Ordering::Relaxed));
        let seconds = wall.clone();
        let seconds: sandglass::store::WallClock = Arc::new(move || seconds() as f64 / 1e9);
        let (store, runtime) = (MemoryStore::with_clock(seconds.clone()), equip(Memory::with_clock(seconds)));
        plant(&store);
        let settings = settings(overrides);
        let supervisor = supervisor(&settings, &store, &runtime, &wall);
        let restoration = supervisor.begin().await.expect("the lease is free");
        Self { settings, store, runtime, supervisor, restoration, wall, jumped }
    }

    /// Begins a new supervisor over `store`, on the same engine and clocks.
    pub async fn start_on(self, store: MemoryStore) -> Self {
        let supervisor = supervisor(&self.settings, &store, &self.runtime, &self.wall);
        let restoration = supervisor.begin().await.expect("the lease is free");
        Self { store, supervisor, restoration, ..self }
    }

    /// Moves the wall clock forward by this many seconds, as when it is set or the host has slept.
    pub fn set_wall_clock(&self, seconds: i64) {
        self.jumped.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
    }

    /// Begins a new supervisor as after `kill -9`: nothing is flushed, and the store refuses what the old one still
    /// writes.
    pub async fn crash_and_restart(self) -> Self {
        self.store.bury_holder();
        let store = self.store.reopen();
        self.start_on(store).await
    }

    /// Begins a new supervisor after a clean stop.
    pub async fn stop_and_restart(self) -> Self {
        let missing = self.supervisor.shutdown(Duration::from_secs(5)).await;
        assert_eq!(missing, 0, "a clean stop has written everything");
        let store = self.store.reopen();
        self.start_on(store).await
    }

    pub async fn create(&self, create: Create) -> Sandbox {
        match self.try_create(create).await.expect("created") {
            Created::New(sandbox) => sandbox,
            other => panic!("not new: {other:?}"),
        }
    }

    pub async fn try_create(&self, create: Create) -> Result<Created, RequestError> {
        self.supervisor.create(create, true).await
    }

    /// The wall clock, in epoch seconds.
    pub fn now(&self) -> f64 {
        (self.wall)() as f64 / 1e9
    }

    /// Waits in virtual time until `condition` holds, at most `within`.
    pub async fn until(&self, within: Duration, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + within;
        while !condition() {
            assert!(Instant::now() < deadline, "it did not happen within {within:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub fn supervisor(settings: &Settings, store: &MemoryStore, runtime: &Memory, wall: &WallClock) -> Arc<Supervisor> {
    supervisor_over(settings, Arc::new(store.clone()), runtime, wall)
}

/// Begins over any store.
pub fn supervisor_over(
    settings: &Settings,
    store: Arc<dyn Store>,
    runtime: &Memory,
    wall: &WallClock,
) -> Arc<Supervisor> {
    let adapters = Adapters { store, runtime: Arc::new(runtime.clone()) };
    assemble_on(Clock::with_wall(wall.clone()), settings.clone(), adapters, Arbiters::current())
}

/// A create with an id and an idle timeout, in seconds.
pub fn idle(name: &str, seconds: u64) -> Create {
    Create { id: Some(id(name)), idle_timeout: Some(Some(Duration::from_secs(seconds))), ..Default::default() }
}
