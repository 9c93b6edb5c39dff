//! Keeps background tasks running. One that dies is logged, counted, started again, and reported by `/readyz` (see
//! [design: tasks](crate::design::security::tasks)).

use std::{
    any::Any,
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    clock::Clock,
    domain::{EpochSeconds, Moment, retry::Backoff},
    metrics::Metrics,
};

/// The delay before a dead task is started again.
const RESTART: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(10) };

/// A task that lived this long counts as having died only once.
const SETTLED: Duration = Duration::from_secs(300);

/// How long a task that keeps dying counts as down after its last death.
const DOWN_FOR: Duration = Duration::from_secs(120);

/// How long a death is reported.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// A task that died recently.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// The task's name.
    pub task: &'static str,
    /// When it died last.
    pub since: EpochSeconds,
    /// What it died of.
    pub error: String,
    /// Whether its work is not being done: it waits for its restart, or keeps dying.
    pub down: bool,
}

/// The tasks of this process. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

struct Shared {
    io: Handle,
    clock: Clock,
    metrics: Arc<Metrics>,
    deaths: Mutex<BTreeMap<&'static str, Death>>,
    beyond_repair: OnceLock<String>,
    gave_up: CancellationToken,
    #[cfg(test)]
    sabotage: tokio::sync::watch::Sender<Option<&'static str>>,
}

/// The last death of a task.
struct Death {
    error: String,
    at: Moment,
    wall: EpochSeconds,
    /// How often it has died without living long in between.
    in_a_row: u32,
    waits: bool,
}

impl Tasks {
    /// No tasks yet; they will run on `io`.
    pub fn new(io: Handle, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let shared = Shared {
            io,
            clock,
            metrics,
            deaths: Mutex::default(),
            beyond_repair: OnceLock::new(),
            gave_up: CancellationToken::new(),
            #[cfg(test)]
            sabotage: tokio::sync::watch::Sender::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Keeps a task running until `over`: if it panics or returns earlier, it is started again after a short wait. State that
    /// must survive belongs outside of the future that `start` makes. `start` gets the number of deaths.
    pub fn keep<F>(&self, name: &'static str, over: &CancellationToken, start: impl FnMut(u32) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (tasks, over) = (self.clone(), over.clone());
        self.shared.io.spawn(async move { tasks.run(name, start, Some(&over)).await });
    }

    /// Runs something to completion, starting it again after a panic.
    pub async fn finish<F: Future<Output = ()>>(&self, name: &'static str, start: impl FnMut(u32) -> F) {
        self.run(name, start, None).await;
    }

    /// Runs something once. Returns `None` if it panicked, which is logged, counted and reported.
    pub fn once<F>(&self, name: &'static str, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let tasks = self.clone();
        self.shared.io.spawn(async move {
            match AssertUnwindSafe(task).catch_unwind().await {
                Ok(output) => Some(output),
                Err(panic) => {
                    tasks.died(name, &words_of(&*panic), None, false);
                    None
                }
            }
        })
    }

    /// The tasks that died recently.
    pub fn troubles(&self) -> Vec<Trouble> {
        let now = self.shared.clock.now().moment;
        let mut deaths = self.deaths();
        deaths.retain(|_, death| death.waits || now.since(death.at) < TOLD_FOR);
        let trouble = |(task, death): (&&'static str, &Death)| Trouble {
            task,
            since: death.wall,
            error: death.error.clone(),
            down: death.waits || (death.in_a_row > 1 && now.since(death.at) < DOWN_FOR),
        };
        deaths.iter().map(trouble).collect()
    }

    /// Reports the death of something indispensable that cannot be restarted: the process has to end.
    pub fn give_up(&self, why: &str) {
        if self.shared.beyond_repair.set(why.to_owned()).is_ok() {
            error!(why, "a bug in Sandglass: it cannot go on");
        }
        self.shared.gave_up.cancel();
    }

    /// Why the process has to end.
    pub fn beyond_repair(&self) -> Option<&str> {
        self.shared.beyond_repair.get().map(String::as_str)
    }

    /// Resolves when the process has to end.
    pub async fn given_up(&self) {
        self.shared.gave_up.cancelled().await;
    }

    /// Runs a task until a permitted end: any end, or one after `over` is cancelled.
    async fn run<F>(&self, name: &'static str, mut start: impl FnMut(u32) -> F, over: Option<&CancellationToken>)
    where
        F: Future<Output = ()>,
    {
        let mut deaths = 0;
        loop {
            let began = self.shared.clock.now().moment;
            // Making the future may panic, too.
            let life = AssertUnwindSafe(async { self.sabotaged(name, start(deaths)).await }).catch_unwind();
            let error = match life.await {
                Ok(()) if over.is_none_or(CancellationToken::is_cancelled) => return,
                Ok(()) => "it ended by itself".to_owned(),
                Err(panic) => words_of(&*panic),
            };
            deaths = deaths.saturating_add(1);
            let in_a_row = self.died(name, &error, Some(began), true);
            let pause = tokio::time::sleep(RESTART.jittered_wait(in_a_row));
            match over {
                None => pause.await,
                Some(over) => {
                    if over.run_until_cancelled(pause).await.is_none() {
                        return;
                    }
                }
            }
            if let Some(death) = self.deaths().get_mut(name) {
                death.waits = false;
            }
        }
    }

    /// Notes a death and returns how many there were in a row.
    fn died(&self, task: &'static str, error: &str, began: Option<Moment>, waits: bool) -> u32 {
        let now = self.shared.clock.now();
        self.shared.metrics.task_died(task);
        let mut deaths = self.deaths();
        let settled = began.is_none_or(|began| now.moment.since(began) >= SETTLED);
        let in_a_row = deaths.get(task).filter(|_| !settled).map_or(1, |death| death.in_a_row.saturating_add(1));
        let death = Death { error: error.to_owned(), at: now.moment, wall: now.wall(), in_a_row, waits };
        deaths.insert(task, death);
        drop(deaths);
        error!(task, error, in_a_row, "a bug in Sandglass: a background task died");
        in_a_row
    }

    fn deaths(&self) -> MutexGuard<'_, BTreeMap<&'static str, Death>> {
        self.shared.deaths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(not(test))]
    async fn sabotaged(&self, _name: &'static str, life: impl Future<Output = ()>) {
        life.await;
    }

    /// Wraps the task so that a test can make it panic wherever it waits.
    #[cfg(test)]
    async fn sabotaged(&self, name: &'static str, life: impl Future<Output = ()>) {
        let mut victim = self.shared.sabotage.subscribe();
        victim.mark_unchanged();
        tokio::select! {
            biased;
            () = async {
                while victim.changed().await.is_err() || *victim.borrow() != Some(name) {}
            } => panic!("on purpose"),
            () = life => {}
        }
    }

    /// Makes a task panic where it currently waits.
    #[cfg(test)]
    pub(crate) fn panic_now(&self, name: &'static str) {
        self.shared.sabotage.send_replace(Some(name));
    }
}

/// A panic's message.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.as_deref().unwrap_or("without a word"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{
        actor::Arbiters,
        app::{Adapters, assemble},
        config::{Overrides, Settings},
        domain::{EndReason, SandboxId, Status},
        journal::StoreHealth,
        ports::runtime::RuntimeError,
        runtime::{
            Memory,
            memory::{Point, When},
        },
        sandboxes::{Create, RuntimeHealth},
        store::MemoryStore,
        supervisor::Supervisor,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn tasks() -> Tasks {
        Tasks::new(Handle::current(), Clock::system(), Arc::new(Metrics::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_dies_or_ends_by_itself_is_started_again_and_told_for_a_while() {
        let (tasks, over, lives) = (tasks(), CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let (counted, token) = (lives.clone(), over.clone());
        tasks.keep("frail", &over, move |deaths| {
            let (counted, token) = (counted.clone(), token.clone());
            async move {
                assert_eq!(deaths, counted.fetch_add(1, Ordering::Relaxed));
                match deaths {
                    0 => panic!("of a cold"),
                    1 => {}
                    _ => token.cancelled().await,
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        let [trouble] = &tasks.troubles()[..] else { panic!("not one: {:?}", tasks.troubles()) };
        assert!(trouble.down && trouble.error.contains("of a cold"), "{trouble:?}");
        tokio::time::sleep(SECOND).await;
        assert_eq!(lives.load(Ordering::Relaxed), 3);
        let [trouble] = &tasks.troubles()[..] else { panic!("not one: {:?}", tasks.troubles()) };
        assert!(trouble.down && trouble.error == "it ended by itself", "twice in a row: {trouble:?}");
        tokio::time::sleep(DOWN_FOR).await;
        assert!(tasks.troubles().iter().all(|trouble| !trouble.down));
        tokio::time::sleep(TOLD_FOR).await;
        assert_eq!(tasks.troubles(), []);
        over.cancel();
        tokio::time::sleep(SECOND * 60).await;
        assert_eq!((lives.load(Ordering::Relaxed), tasks.troubles()), (3, vec![]), "this end was meant");
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_to_be_done_to_its_end_is_begun_again_and_what_is_done_once_is_told() {
        let (tasks, begun) = (tasks(), AtomicU32::new(0));
        let work = |deaths| {
            begun.fetch_add(1, Ordering::Relaxed);
            async move { assert!(deaths >= 2, "too early") }
        };
        tasks.finish("work", work).await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
        assert_eq!(tasks.once("fine", async { 7 }).await.unwrap(), Some(7));
        assert_eq!(tasks.once("doomed", async { panic!("{}", "at once") }).await.unwrap(), None::<()>);
        let troubles = tasks.troubles();
        assert!(troubles.iter().any(|trouble| trouble.task == "doomed" && !trouble.down), "{troubles:?}");
    }

    async fn supervisor(store: &MemoryStore, runtime: &Memory, arbiters: Arbiters) -> Arc<Supervisor> {
        let mut flags = Overrides::default();
        flags.set("lifecycle.retention", "20", "a test");
        let settings = Settings::load(None, Vec::new(), flags).unwrap();
        let adapters = Adapters { store: Arc::new(store.clone()), runtime: Arc::new(runtime.clone()) };
        let supervisor = assemble(settings, adapters, arbiters);
        supervisor.begin().await.unwrap();
        supervisor
    }

    #[actix_web::test]
    async fn every_background_task_survives_a_panic_and_goes_on_with_its_work() {
        tokio::time::pause();
        let (store, runtime) = (MemoryStore::new(), Memory::new());
        let supervisor = supervisor(&store, &runtime, Arbiters::current()).await;
        let shared = supervisor.shared();
        let create = |name: &str| Create { id: SandboxId::parse(name).ok(), ..Create::default() };
        for name in ["exits", "stays", "overdue"] {
            supervisor.create(create(name), true).await.unwrap();
        }
        let mut feed = shared.feed.subscribe(None).unwrap();
        tokio::time::sleep(SECOND).await;
        let names = [
            "journal writer",
            "feed waker",
            "wall clock",
            "store restorer",
            "tombstones",
            "runtime watch",
            "lease",
            "retries",
            "engine events",
            "reconcile",
            "audit",
            "grace",
            "sweep",
        ];
        for name in names {
            shared.tasks.panic_now(name);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let died: Vec<_> = shared.tasks.troubles().into_iter().map(|trouble| trouble.task).collect();
        assert!(names.iter().all(|name| died.contains(name)), "{died:?}");
        let text = supervisor.metrics();
        for name in names {
            assert!(text.contains(&format!("sandglass_task_deaths_total{{task=\"{name}\"}} 1\n")), "{name}: {text}");
        }
        tokio::time::sleep(SECOND).await;
        assert!(shared.tasks.troubles().iter().all(|trouble| !trouble.down), "{:?}", shared.tasks.troubles());

        // The journal's writer, and the feed's waker.
        supervisor.create(create("new"), true).await.unwrap();
        assert!(store.record("new").is_some());
        let told = tokio::time::timeout(SECOND, feed.reader.next()).await;
        assert!(told.is_ok(), "the feed's readers are woken");
        // The engine's events, long before the next comparison; and the tombstones.
        let exits = SandboxId::parse("exits").unwrap();
        runtime.exit(&exits, 3);
        tokio::time::sleep(3 * SECOND).await;
        let ended = supervisor.get(&exits).await.unwrap();
        assert_eq!(ended.end().unwrap().reason, EndReason::Exited);
        // The comparison, and the sweep.
        let lists = || runtime.calls().iter().filter(|call| call.point == Point::List).count();
        let before = lists();
        shared.registry.handle(&SandboxId::parse("overdue").unwrap()).unwrap().panic_now();
        tokio::time::sleep(supervisor.settings().sandboxes.reconcile_interval * 2).await;
        assert!(lists() > before);
        assert!(supervisor.get(&exits).await.is_err(), "its tombstone is forgotten");
        assert!(supervisor.metrics().contains("sandglass_actor_losses_total 1\n"));
        // What restores the store.
        store.wipe();
        tokio::time::sleep(supervisor.settings().store.lease_ttl).await;
        assert_eq!(store.active_members().len(), 3);
        // The watch over the engine, and what is tried again when it is back.
        runtime.fail_always(Point::Check, When::Before, RuntimeError::Unreachable("on purpose".into()));
        runtime.fail_always(Point::Remove, When::Before, RuntimeError::Unreachable("on purpose".into()));
        let stays = SandboxId::parse("stays").unwrap();
        supervisor.terminate(&stays, Duration::ZERO).await.unwrap();
        tokio::time::sleep(SECOND * 600).await;
        assert!(matches!(supervisor.health().runtime(), RuntimeHealth::Down { .. }));
        runtime.heal_all();
        tokio::time::sleep(SECOND * 2).await;
        assert!(supervisor.get(&stays).await.is_ok_and(|sandbox| sandbox.is_gone()), "tried again at once");
        // The lease.
        store.usurp("somebody else");
        tokio::time::sleep(supervisor.settings().store.lease_ttl).await;
        assert!(matches!(supervisor.health().store(), StoreHealth::Lost { .. }));
    }

    #[actix_web::test]
    async fn what_restores_the_store_begins_with_that_after_a_panic() {
        tokio::time::pause();
        let (store, runtime) = (MemoryStore::new(), Memory::new());
        let supervisor = supervisor(&store, &runtime, Arbiters::current()).await;
        supervisor.create(Create::default(), true).await.unwrap();
        store.wipe();
        // Its notice is taken by one that then dies: here it is never given.
        supervisor.shared().tasks.panic_now("store restorer");
        tokio::time::sleep(SECOND).await;
        assert_eq!(store.active_members().len(), 1);
    }

    #[actix_web::test]
    async fn a_bug_in_an_adapter_costs_none_of_the_tasks_that_use_it() {
        tokio::time::pause();
        let (store, runtime) = (MemoryStore::new(), Memory::new());
        let supervisor = supervisor(&store, &runtime, Arbiters::current()).await;
        for point in [Point::Check, Point::List, Point::Events] {
            runtime.panic_next(point, When::Before);
        }
        let created = supervisor.create(Create::default(), true).await.unwrap();
        let crate::sandboxes::Created::New(created) = created else { panic!("not new: {created:?}") };
        store.panic_next(crate::store::memory::Point::Renew, 2);
        store.panic_next(crate::store::memory::Point::Commit, 2);
        supervisor.keep_alive(created.id(), SECOND).await.unwrap();
        tokio::time::sleep(SECOND * 70).await;
        let tasks = &supervisor.shared().tasks;
        let died: Vec<_> = tasks.troubles().into_iter().map(|trouble| trouble.task).collect();
        for name in ["journal writer", "lease", "reconcile", "runtime watch"] {
            assert!(died.contains(&name), "{name}: {died:?}");
        }
        assert!(supervisor.health().store().is_up());
        assert_eq!(supervisor.get(created.id()).await.unwrap().status(), Status::Running);
        assert!(store.record(created.id().as_str()).is_some());
        // A look at a container that exited is repeated.
        runtime.panic_next(Point::Inspect, When::Before);
        runtime.exit(created.id(), 0);
        tokio::time::sleep(SECOND * 5).await;
        assert!(supervisor.get(created.id()).await.unwrap().is_gone());
    }

    #[actix_web::test]
    async fn a_thread_of_the_actors_that_ends_ends_the_process() {
        let (store, runtime) = (MemoryStore::new(), Memory::new());
        let supervisor = supervisor(&store, &runtime, Arbiters::start(1)).await;
        supervisor.create(Create { id: SandboxId::parse("a").ok(), ..Create::default() }, true).await.unwrap();
        assert_eq!(supervisor.shared().tasks.beyond_repair(), None);
        supervisor.kill_arbiters();
        // Whoever asks finds out.
        let asked = async {
            while supervisor.shared().tasks.beyond_repair().is_none() {
                let _ = supervisor.get(&SandboxId::parse("a").unwrap()).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SECOND * 20, asked).await.unwrap();
        tokio::time::timeout(SECOND, supervisor.shared().tasks.given_up()).await.unwrap();
    }
}
