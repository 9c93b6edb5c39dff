//! The port's calls, and what tests do behind its back.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{
    containers::{Containers, Look, Mark},
    faults::{Faults, Point, When},
};
use crate::{
    domain::{SandboxId, lifecycle::Container as State},
    ports::runtime::{ContainerRef, Inspected, Labels, Runtime, RuntimeError, Start, StartProgress, Started},
};

/// The exit code of a process that SIGTERM ended.
const TERMINATED: i64 = 143;

/// A point that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub point: Point,
    /// For whom; `None`: for nobody in particular.
    pub sandbox: Option<SandboxId>,
}

/// An engine in memory. Clones are the same engine: a test keeps one and gives away another.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    containers: Mutex<Containers>,
    faults: Faults,
    /// `None`: nobody wants to know.
    calls: Option<Mutex<Vec<Call>>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty engine that notes all calls.
    pub fn new() -> Self {
        Self::with_log(Some(Mutex::default()))
    }

    /// An empty engine that notes nothing, for benchmarks whose memory is measured.
    pub fn without_log() -> Self {
        Self::with_log(None)
    }

    fn with_log(calls: Option<Mutex<Vec<Call>>>) -> Self {
        Self { inner: Arc::new(Inner { containers: Mutex::default(), faults: Faults::default(), calls }) }
    }

    /// The next `times` passages of the point end with `error`.
    pub fn fail_next(&self, point: Point, when: When, times: usize, error: RuntimeError) {
        if times > 0 {
            self.inner.faults.fail(point, when, Some(times), error);
        }
    }

    /// Every passage of the point ends with `error`, until it is healed.
    pub fn fail_always(&self, point: Point, when: When, error: RuntimeError) {
        self.inner.faults.fail(point, when, None, error);
    }

    /// Every passage of the point waits until it is healed.
    pub fn hang(&self, point: Point, when: When) {
        self.inner.faults.hang(point, when);
    }

    /// The point works again, and who hangs at it goes on.
    pub fn heal(&self, point: Point) {
        self.inner.faults.heal(|faulty| faulty == point);
    }

    /// Everything works again.
    pub fn heal_all(&self) {
        self.inner.faults.heal(|_| true);
    }

    /// How long each point takes, unless it has a latency of its own.
    pub fn set_latency(&self, latency: Duration) {
        self.inner.faults.set_latency(None, latency);
    }

    /// How long this point takes.
    pub fn set_latency_of(&self, point: Point, latency: Duration) {
        self.inner.faults.set_latency(Some(point), latency);
    }

    /// All points reached so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.calls.as_ref().map(|calls| lock(calls).clone()).unwrap_or_default()
    }

    /// How often this point was reached.
    pub fn count(&self, point: Point) -> usize {
        let calls = self.inner.calls.as_ref();
        calls.map_or(0, |calls| lock(calls).iter().filter(|call| call.point == point).count())
    }

    /// How many containers there are, foreign ones included.
    pub fn len(&self) -> usize {
        self.containers().len()
    }

    /// Whether there is no container at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the sandbox's container does; `None`: it has none.
    pub fn state_of(&self, sandbox: &SandboxId) -> Option<State> {
        self.containers().of_sandbox(sandbox).map(|(_, entry)| entry.state)
    }

    /// What the container with this id does, whoever it belongs to.
    pub fn state_of_id(&self, container_id: &str) -> Option<State> {
        self.containers().get(container_id).map(|entry| entry.state)
    }

    /// The sandbox's container ends by itself with this exit code. Whether there was one.
    pub fn exit(&self, sandbox: &SandboxId, code: i64) -> bool {
        self.set_state(sandbox, State::Stopped(Some(code)))
    }

    /// Somebody freezes, thaws or stops the sandbox's container by hand. Whether there was one.
    pub fn set_state(&self, sandbox: &SandboxId, state: State) -> bool {
        self.containers().of_sandbox(sandbox).map(|(_, entry)| entry.state = state).is_some()
    }

    /// The sandbox's container is removed by somebody else. Whether there was one.
    pub fn vanish(&self, sandbox: &SandboxId) -> bool {
        let mut containers = self.containers();
        let id = containers.of_sandbox(sandbox).map(|(id, _)| id);
        id.map(|id| containers.remove(&id)).is_some()
    }

    /// A running container of somebody else's; its id.
    pub fn put_foreign(&self, name: &str) -> String {
        self.containers().put(None, name, Labels::default(), State::Running)
    }

    /// A container with the labels of `owner` that is there from before; its id. Whatever id `owner` has is ignored.
    pub fn put(&self, owner: &ContainerRef, name: &str, labels: Labels, state: State) -> String {
        self.containers().put(Some(Mark::of(owner)), name, labels, state)
    }

    fn containers(&self) -> MutexGuard<'_, Containers> {
        lock(&self.inner.containers)
    }

    /// One point: its latency, its faults, and its effect between them.
    async fn step<T>(
        &self,
        point: Point,
        sandbox: Option<&SandboxId>,
        effect: impl FnOnce(&mut Containers) -> Result<T, RuntimeError> + Send,
    ) -> Result<T, RuntimeError> {
        if let Some(calls) = &self.inner.calls {
            lock(calls).push(Call { point, sandbox: sandbox.cloned() });
        }
        self.inner.faults.pass(point, When::Before).await?;
        let outcome = effect(&mut self.containers())?;
        self.inner.faults.pass(point, When::After).await?;
        Ok(outcome)
    }

    /// From one state into another; done already counts as done.
    async fn turn(&self, point: Point, container: &ContainerRef, from: State, to: State) -> Result<(), RuntimeError> {
        let failed = |why: &str| Err(RuntimeError::Failed(format!("failed to {point:?} the container: {why}")));
        self.step(point, Some(&container.sandbox), |containers| match containers.look(container) {
            Look::Ours(_, entry) if entry.state == from || entry.state == to => {
                entry.state = to;
                Ok(())
            }
            Look::Ours(..) => failed("it does not run"),
            Look::Foreign => failed("it is not ours"),
            Look::Missing => failed("there is none"),
        })
        .await
    }
}

#[async_trait]
impl Runtime for Memory {
    async fn start(
        &self,
        start: &Start,
        cancel: &CancellationToken,
        progress: &(dyn Fn(StartProgress) + Send + Sync),
    ) -> Result<Started, RuntimeError> {
        let sandbox = Some(&start.id);
        unless_cancelled(cancel, self.step(Point::Pull, sandbox, |_| Ok(()))).await?;
        progress(StartProgress::Starting);
        let id = self.step(Point::Create, sandbox, |containers| containers.create(start)).await?;
        if cancel.is_cancelled() {
            return Err(RuntimeError::Cancelled);
        }
        let launch = |containers: &mut Containers| {
            containers.set_state(&id, State::Running);
            Ok(())
        };
        self.step(Point::Start, sandbox, launch).await?;
        progress(StartProgress::WaitingForReadiness);
        let ready = |containers: &mut Containers| match containers.get(&id) {
            Some(entry) if entry.state == State::Running => Ok(entry.started(&id)),
            _ => Err(RuntimeError::Failed("the container ended before it was ready".to_owned())),
        };
        unless_cancelled(cancel, self.step(Point::Ready, sandbox, ready)).await
    }

    async fn inspect(&self, container: &ContainerRef) -> Result<Option<Inspected>, RuntimeError> {
        self.step(Point::Inspect, Some(&container.sandbox), |containers| {
            Ok(match containers.look(container) {
                Look::Ours(id, entry) => Some(entry.inspected(&id)),
                Look::Foreign | Look::Missing => None,
            })
        })
        .await
    }

    async fn pause(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        self.turn(Point::Pause, container, State::Running, State::Paused).await
    }

    async fn resume(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        self.turn(Point::Resume, container, State::Paused, State::Running).await
    }

    async fn remove(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        let sandbox = Some(&container.sandbox);
        let stop = |containers: &mut Containers| {
            if let Look::Ours(_, entry) = containers.look(container)
                && entry.state == State::Running
            {
                entry.state = State::Stopped(Some(TERMINATED));
            }
            Ok(())
        };
        self.step(Point::Stop, sandbox, stop).await?;
        let remove = |containers: &mut Containers| {
            if let Look::Ours(id, _) = containers.look(container) {
                containers.remove(&id);
            }
            Ok(())
        };
        self.step(Point::Remove, sandbox, remove).await
    }

    async fn check(&self) -> Result<(), RuntimeError> {
        self.step(Point::Check, None, |_| Ok(())).await
    }
}

async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(RuntimeError::Cancelled),
        outcome = work => outcome,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::{
        domain::spec::{Limits, Readiness, StartSpec},
        ports::runtime::Owner,
    };

    fn start() -> Start {
        let id = SandboxId::generate();
        let spec = StartSpec {
            image: "busybox:stable".to_owned(),
            command: None,
            env: [].into(),
            ports: vec![80],
            limits: Limits::default(),
            mounts: Vec::new(),
            readiness: Readiness::Started,
            ready_timeout: Duration::from_secs(1),
        };
        Start { name: format!("sandglass-{id}"), id, spec, labels: Labels::default() }
    }

    async fn run(memory: &Memory, start: &Start) -> Result<Started, RuntimeError> {
        memory.start(start, &CancellationToken::new(), &|_| {}).await
    }

    #[tokio::test]
    async fn a_failure_before_the_effect_leaves_nothing_and_one_after_it_leaves_all() {
        let (memory, start, lost) = (Memory::new(), start(), RuntimeError::Unreachable("lost".to_owned()));
        memory.fail_next(Point::Create, When::Before, 1, lost.clone());
        assert_eq!(run(&memory, &start).await, Err(lost.clone()));
        assert!(memory.is_empty());
        memory.fail_next(Point::Create, When::After, 1, lost.clone());
        assert_eq!(run(&memory, &start).await, Err(lost.clone()));
        assert_eq!(memory.state_of(&start.id), Some(State::Stopped(None)));
        run(&memory, &start).await.expect("the fault is used up");
        let container = ContainerRef { sandbox: start.id.clone(), container_id: None, owner: Owner::Sandglass };
        memory.fail_always(Point::Remove, When::After, lost.clone());
        for _ in 0..3 {
            assert_eq!(memory.remove(&container).await, Err(lost.clone()));
        }
        assert!(memory.is_empty());
        memory.heal(Point::Remove);
        assert_eq!(memory.remove(&container).await, Ok(()));
        assert_eq!(memory.count(Point::Remove), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_goes_on_when_it_is_healed_and_latency_is_paused_time() {
        let (memory, start) = (Memory::new(), start());
        memory.hang(Point::Start, When::Before);
        memory.set_latency_of(Point::Ready, Duration::from_secs(3600));
        let (begun, starting) = (Instant::now(), run(&memory, &start));
        let mut starting = std::pin::pin!(starting);
        timeout(Duration::from_secs(60), &mut starting).await.expect_err("it hangs");
        memory.heal_all();
        starting.await.expect("it goes on");
        assert_eq!(begun.elapsed(), Duration::from_secs(3660));
    }
}
