//! A whole supervisor in this process, over an engine and a store in memory, with the real clock: for drills that need
//! thousands of sandboxes, or pings timed to a millisecond.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use anyhow::Context;

use super::findings::Findings;
use crate::{
    actor::Arbiters,
    app::{Adapters, assemble},
    clock::wall_seconds,
    config::{Overrides, Settings},
    domain::{EndReason, Moment, Sandbox, SandboxId},
    runtime::{Memory, memory::Point},
    sandboxes::{Create, Created, RequestError},
    store::MemoryStore,
    supervisor::Supervisor,
};

/// How long the engine in memory takes to remove a container.
pub(super) const REMOVAL: Duration = Duration::from_millis(3);
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Bench {
    pub(super) supervisor: Arc<Supervisor>,
    runtime: Memory,
}

impl Bench {
    pub(super) async fn begin() -> anyhow::Result<Self> {
        let mut overrides = Overrides::default();
        for (key, value) in [("docker.max_sandboxes", "100000"), ("docker.max_creates", "10000")] {
            overrides.set(key, value, "a drill");
        }
        let settings = Settings::load(None, Vec::new(), overrides)?;
        let now: Arc<dyn Fn() -> f64 + Send + Sync> = Arc::new(wall_seconds);
        // A gate that records nothing, since a log of all calls would grow without bound.
        let runtime = Memory::with_gate(now.clone(), Arc::new(|_, _| true));
        runtime.set_latency_of(Point::Remove, REMOVAL);
        let adapters = Adapters { store: Arc::new(MemoryStore::with_clock(now)), runtime: Arc::new(runtime.clone()) };
        let cores = available_parallelism().map_or(1, usize::from);
        let supervisor = assemble(settings, adapters, Arbiters::start(cores));
        supervisor.begin().await.context("failed to begin in memory")?;
        Ok(Self { supervisor, runtime })
    }

    /// Creates a sandbox; fails if the id is taken.
    pub(super) async fn create(&self, id: &SandboxId, idle_timeout: Duration) -> anyhow::Result<Sandbox> {
        let create = Create { id: Some(id.clone()), idle_timeout: Some(Some(idle_timeout)), ..Create::default() };
        match self.supervisor.create(create, true).await {
            Ok(Created::New(sandbox)) => Ok(sandbox),
            Ok(other) => anyhow::bail!("{id} is not new: {other:?}"),
            Err(error) => anyhow::bail!("a create in memory was refused: {error}"),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.supervisor.now().moment
    }

    pub(super) async fn wait_until(&self, moment: Moment) {
        tokio::time::sleep_until(self.supervisor.shared().clock.instant_at(moment)).await;
    }

    /// Waits until a sandbox is gone whose client was promised that it lives until `promised`, and judges its end.
    pub(super) async fn judge(
        &self,
        id: &SandboxId,
        promised: Moment,
        within: Duration,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + within;
        let gone = loop {
            match self.supervisor.get(id).await {
                Ok(sandbox) if sandbox.is_gone() => break sandbox,
                Ok(_) => {}
                Err(RequestError::NotFound(_)) => {
                    findings.lost += 1;
                    return Ok(());
                }
                Err(error) => anyhow::bail!("{id} is neither there nor gone: {error}"),
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "{id} is not gone within {within:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let end = gone.end().context("what is gone has an end")?;
        if end.reason != EndReason::Idle {
            findings.wrong(format!("{id} ended as {}", end.reason));
        } else if end.decided_at < promised {
            findings.early += 1;
            findings.wrong(format!("{id} ended {:?} before its time", promised.since(end.decided_at)));
        } else {
            findings.lateness.add(end.decided_at.since(promised).as_secs_f64());
        }
        Ok(())
    }

    /// Shuts the supervisor down, and adds to `findings` the containers and writes that are left.
    pub(super) async fn end(self, findings: &mut Findings) {
        findings.leaked += self.runtime.len();
        let rescues = self.supervisor.metrics();
        let rescued = rescues.lines().find(|line| line.starts_with("sandglass_sweep_rescues_total "));
        findings.expect(rescued.is_none_or(|line| line.ends_with(" 0")), || "the backstop had to help".to_owned());
        let missing = self.supervisor.shutdown(FLUSH_WITHIN).await;
        findings.expect(missing == 0, || format!("{missing} writes were not taken at the end"));
    }
}
