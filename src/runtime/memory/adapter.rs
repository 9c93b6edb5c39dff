//! Implements the port, with injected faults.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    agents::Agents,
    containers::{Containers, Look, TERMINATED, WallClock},
    faults::{Faults, Point, When},
};
use crate::{
    domain::{EpochSeconds, SandboxId, sandbox::Container as State},
    ports::runtime::{
        ContainerEvent, ContainerRef, EndAccount, Inspected, Listed, Runtime, RuntimeError, Start, StartProgress,
        Started,
    },
    ports::{inside::Inside, snapshots::Snapshots, walls::Walls},
    runtime::cancel::unless_cancelled,
};

/// The wall-clock time at which the default clock begins.
const DEFAULT_EPOCH: EpochSeconds = 1_800_000_000.0;

/// How long the investigation of an end takes.
const MOMENT: Duration = Duration::from_secs(2);

/// A point that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The point.
    pub point: Point,
    /// The sandbox of the call, if it has one.
    pub sandbox: Option<SandboxId>,
}

/// Called before and after each point's effect. If it returns false, the call never returns, as if its caller had crashed.
pub type Gate = Arc<dyn Fn(&Call, When) -> bool + Send + Sync>;

/// An engine in memory. Clones are the same engine, so a test can keep one.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    containers: Mutex<Containers>,
    faults: Faults,
    /// `None` if calls are not logged.
    calls: Option<Mutex<Vec<Call>>>,
    gate: Option<Gate>,
    /// `None` if nobody can work in the containers.
    agents: Option<Agents>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty engine that logs all calls. Its wall clock begins at a fixed time and follows tokio's clock.
    pub fn new() -> Self {
        Self::with_clock(tokio_wall_clock())
    }

    /// [`Memory::new`] with another wall clock, which dates containers and events.
    pub fn with_clock(now: WallClock) -> Self {
        Self::with(Some(Mutex::default()), now, None)
    }

    /// An empty engine that does not log calls, for benchmarks that measure memory.
    pub fn without_log() -> Self {
        Self::with(None, tokio_wall_clock(), None)
    }

    /// An empty engine that does not log calls and calls `gate` at each point.
    pub fn with_gate(now: WallClock, gate: Gate) -> Self {
        Self::with(None, now, Some(gate))
    }

    fn with(calls: Option<Mutex<Vec<Call>>>, now: WallClock, gate: Option<Gate>) -> Self {
        let containers = Mutex::new(Containers::new(now));
        Self { inner: Arc::new(Inner { containers, faults: Faults::default(), calls, gate, agents: None }) }
    }

    /// Has people work in the containers, which is on this machine: each has an agent that runs in this process.
    #[must_use]
    pub fn with_agents(mut self) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.agents = Some(Agents::default());
        }
        self
    }

    pub(super) fn agents(&self) -> Option<&Agents> {
        self.inner.agents.as_ref()
    }

    /// Makes the next `times` calls fail at the point.
    pub fn fail_next(&self, point: Point, when: When, times: usize, error: RuntimeError) {
        if times > 0 {
            self.inner.faults.fail(point, when, Some(times), error);
        }
    }

    /// Makes every call fail at the point until it is healed.
    pub fn fail_always(&self, point: Point, when: When, error: RuntimeError) {
        self.inner.faults.fail(point, when, None, error);
    }

    /// Makes the next call panic at the point, like a bug in an adapter.
    pub fn panic_next(&self, point: Point, when: When) {
        self.inner.faults.panic(point, when);
    }

    /// Makes every call wait at the point until it is healed.
    pub fn hang(&self, point: Point, when: When) {
        self.inner.faults.hang(point, when);
    }

    /// Removes the faults of the point and resumes the calls that hang there.
    pub fn heal(&self, point: Point) {
        self.inner.faults.heal(|faulty| faulty == point);
    }

    /// Removes all faults.
    pub fn heal_all(&self) {
        self.inner.faults.heal(|_| true);
    }

    /// Sets the latency of all points without their own.
    pub fn set_latency(&self, latency: Duration) {
        self.inner.faults.set_latency(None, latency);
    }

    /// Sets the latency of one point.
    pub fn set_latency_of(&self, point: Point, latency: Duration) {
        self.inner.faults.set_latency(Some(point), latency);
    }

    /// All logged calls, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.calls.as_ref().map(|calls| lock(calls).clone()).unwrap_or_default()
    }

    /// How many calls reached the point.
    pub fn count(&self, point: Point) -> usize {
        let calls = self.inner.calls.as_ref();
        calls.map_or(0, |calls| lock(calls).iter().filter(|call| call.point == point).count())
    }

    pub(super) fn containers(&self) -> MutexGuard<'_, Containers> {
        lock(&self.inner.containers)
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Runs one point: latency and faults before, the effect, faults after.
    pub(super) async fn step<T>(
        &self,
        point: Point,
        sandbox: Option<&SandboxId>,
        effect: impl FnOnce(&mut Containers) -> Result<T, RuntimeError> + Send,
    ) -> Result<T, RuntimeError> {
        if let Some(calls) = &self.inner.calls {
            lock(calls).push(Call { point, sandbox: sandbox.cloned() });
        }
        self.inner.faults.pass(point, When::Before).await?;
        self.gate(point, sandbox, When::Before).await;
        let outcome = {
            let mut containers = self.containers();
            containers.must_be_up()?;
            effect(&mut containers)?
        };
        self.gate(point, sandbox, When::After).await;
        self.inner.faults.pass(point, When::After).await?;
        Ok(outcome)
    }

    async fn gate(&self, point: Point, sandbox: Option<&SandboxId>, when: When) {
        let Some(gate) = &self.inner.gate else { return };
        if !gate(&Call { point, sandbox: sandbox.cloned() }, when) {
            std::future::pending::<()>().await;
        }
    }

    /// Changes the state from `from` to `to`. Succeeds if it is `to` already.
    async fn turn(&self, point: Point, container: &ContainerRef, from: State, to: State) -> Result<(), RuntimeError> {
        let failed = |why: &str| Err(RuntimeError::Failed(format!("failed to {point:?} the container: {why}")));
        self.step(point, Some(&container.sandbox), |containers| match containers.look(container) {
            Look::Ours(id, entry) if entry.state == from || entry.state == to => {
                containers.set_state(&id, to);
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

    async fn await_ready(&self, found: &Inspected) -> Result<(), RuntimeError> {
        if found.labels.readiness.is_none() {
            return Ok(());
        }
        let id = &found.started.container_id;
        self.step(Point::Ready, None, |containers| match containers.get(id) {
            Some(entry) if entry.state == State::Running => Ok(()),
            _ => Err(RuntimeError::Failed("the container ended before it was ready".to_owned())),
        })
        .await
    }

    async fn account_of_end(&self, container: &ContainerRef) -> EndAccount {
        let began = self.containers().run();
        tokio::time::sleep(MOMENT).await;
        let containers = self.containers();
        match containers.look(container) {
            Look::Ours(_, entry) if containers.must_be_up().is_ok() && containers.run() == began => {
                entry.account(began)
            }
            _ => EndAccount::default(),
        }
    }

    async fn restart(&self, container: &ContainerRef, frozen: bool) -> Result<Option<Started>, RuntimeError> {
        let sandbox = Some(&container.sandbox);
        let start = |containers: &mut Containers| {
            let Look::Ours(id, entry) = containers.look(container) else { return Ok(None) };
            if matches!(entry.state, State::Stopped(_)) {
                containers.rules.renew(&id);
                containers.set_state(&id, State::Running);
            }
            Ok(Some(id))
        };
        let Some(id) = self.step(Point::Start, sandbox, start).await? else { return Ok(None) };
        let ready = |containers: &mut Containers| match containers.get(&id).map(|entry| entry.state) {
            Some(State::Running | State::Paused) => {
                if frozen {
                    containers.set_state(&id, State::Paused);
                }
                Ok(containers.get(&id).map(|entry| entry.started(&id)))
            }
            _ => Err(RuntimeError::Failed("the container ended before it was ready".to_owned())),
        };
        self.step(Point::Ready, sandbox, ready).await
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
            if let Look::Ours(id, entry) = containers.look(container)
                && entry.state == State::Running
            {
                containers.set_state(&id, State::Stopped(Some(TERMINATED)));
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

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        self.step(Point::List, None, |containers| Ok(containers.list())).await
    }

    fn events(&self, since: Option<EpochSeconds>) -> BoxStream<'static, Result<ContainerEvent, RuntimeError>> {
        self.listen(since)
    }

    fn inside(&self) -> Option<&dyn Inside> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn walls(&self) -> Option<&dyn Walls> {
        Some(self)
    }

    async fn check(&self) -> Result<(), RuntimeError> {
        self.step(Point::Check, None, |_| Ok(())).await
    }
}

fn tokio_wall_clock() -> WallClock {
    let began = Instant::now();
    Arc::new(move || DEFAULT_EPOCH + began.elapsed().as_secs_f64())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::{
        domain::{
            egress::{Egress, Network},
            spec::{Limits, Readiness, StartSpec},
        },
        ports::runtime::{Labels, Owner},
    };

    fn start() -> Start {
        let id = SandboxId::generate();
        let spec = StartSpec {
            image: "busybox:stable".to_owned(),
            command: None,
            env: [].into(),
            ports: vec![80],
            limits: Limits::default(),
            init: true,
            privilege_escalation: false,
            agent: false,
            mounts: Vec::new(),
            network: Network::Default,
            egress: Egress::default(),
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
        let container = ContainerRef::by_labels(start.id.clone(), Owner::Sandglass);
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
