//! The steps of a start: image, create, start, readiness. It can be cancelled between any two of them.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use tokio_util::sync::CancellationToken;

use super::{Docker, addresses::Pending, mend::Unseated, view};
use crate::{
    domain::{sandbox::Container, spec::Readiness},
    ports::runtime::{Inspected, RuntimeError, Start, StartProgress, Started},
    runtime::{cancel::unless_cancelled, readiness::NotReady},
};

/// The program that an engine runs as a container's first process.
const INIT: &str = "docker-init";
/// How often a container is started that its network keeps from it.
pub(super) const TURNS: u32 = 3;
pub(super) const SEAT: &str = "bring the container onto its network";
/// The default for containers whose label does not tell how long they may take to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
/// How much of a container's output to add to the error of a failed start.
const LOG_LINES: &str = "10";
const LOG_BYTES: usize = 2000;

impl Docker {
    /// Runs all steps. If it fails, the caller removes the container.
    pub(super) async fn run_start(
        &self,
        start: &Start,
        cancel: &CancellationToken,
        progress: &(dyn Fn(StartProgress) + Send + Sync),
    ) -> Result<Started, RuntimeError> {
        self.ensure_image(&start.spec.image, cancel, progress).await?;
        progress(StartProgress::Starting);
        if start.spec.agent {
            self.ensure_agent(&start.spec.image).await;
        }
        let place = self.place(&start.spec.network).await?;
        let id = match self.create(start, place.as_ref().map(Pending::place), cancel).await {
            Ok(id) => id,
            Err(error) => {
                if let Some(place) = place {
                    place.give_back();
                }
                return Err(error);
            }
        };
        let _starting = self.known.starting(&id);
        self.launch(&id, start, place, cancel).await?;
        let started = unless_cancelled(cancel, self.addresses(&id)).await?;
        progress(StartProgress::WaitingForReadiness);
        unless_cancelled(cancel, self.await_readiness(&start.spec.readiness, start.spec.ready_timeout, &started))
            .await?;
        Ok(started)
    }

    /// Puts the container's rules in place, and starts it.
    async fn launch(
        &self,
        id: &str,
        start: &Start,
        mut place: Option<Pending>,
        cancel: &CancellationToken,
    ) -> Result<(), RuntimeError> {
        let (egress, limit) = (&start.spec.egress, self.engine.settings.call_timeout);
        if place.is_none() && !egress.is_empty() {
            return Err(RuntimeError::Failed("egress rules need network = \"isolated\"".to_owned()));
        }
        for turn in 1.. {
            if let Some(pending) = &place {
                let raised = self.raise(id, pending.place(), egress).await;
                raised.map_err(|error| RuntimeError::Failed(error.to_string()))?;
            }
            let permit = unless_cancelled(cancel, async { Ok(self.engine.pool.call().await) }).await?;
            let launched =
                self.engine.call_with(permit, limit, |docker| async move { docker.start_container(id, None).await });
            let Err(error) = launched.await else { break };
            place = match (place, Unseated::why(&error)) {
                (Some(pending), Some(why)) if turn < TURNS => {
                    let seated = self.seat(id, pending.place(), why).await;
                    Some(seated.map_err(|error| error.during(SEAT))?)
                }
                _ => return Err(without_init(start, error.during("start the container"))),
            };
        }
        Ok(())
    }

    /// The container's addresses. Fails if it has already ended.
    async fn addresses(&self, id: &str) -> Result<Started, RuntimeError> {
        let found = self.alive(id).await?;
        Ok(self.started(&found))
    }

    /// Waits until the container is ready, without holding a permit.
    async fn await_readiness(
        &self,
        readiness: &Readiness,
        limit: Duration,
        started: &Started,
    ) -> Result<(), RuntimeError> {
        let id = &started.container_id;
        match self.probe.until_ready(readiness, limit, started, || self.still_alive(id)).await {
            Ok(()) => Ok(()),
            Err(NotReady::InTime(message)) => Err(RuntimeError::Failed(message + &self.told_output(id).await)),
            Err(NotReady::Ended(error)) => Err(error),
        }
    }

    /// [`Self::await_readiness`] by the labels of a container whose start was interrupted.
    pub(super) async fn await_labelled_readiness(&self, found: &Inspected) -> Result<(), RuntimeError> {
        let Some(readiness) = &found.labels.readiness else { return Ok(()) };
        let limit = found.labels.ready_timeout.unwrap_or(READY_TIMEOUT);
        self.await_readiness(readiness, limit, &found.started).await
    }

    async fn still_alive(&self, id: &str) -> Result<(), RuntimeError> {
        self.alive(id).await.map(drop)
    }

    /// Inspects the container; fails with the reason if it is neither running nor frozen.
    pub(super) async fn alive(&self, id: &str) -> Result<ContainerInspectResponse, RuntimeError> {
        let found = self.inspect_by_id(id).await.map_err(|error| error.during("inspect the container"))?;
        let Some(found) = found else {
            return Err(RuntimeError::Failed("the container was removed by somebody else while it started".to_owned()));
        };
        let Container::Stopped(code) = view::state(&found) else { return Ok(found) };
        let code = code.map_or("no exit code".to_owned(), |code| format!("exit code {code}"));
        let oom = found.state.as_ref().is_some_and(|state| state.oom_killed == Some(true));
        let oom = if oom { ", killed for memory" } else { "" };
        let output = self.told_output(id).await;
        Err(RuntimeError::Failed(format!("the container ended before it was ready ({code}{oom}){output}")))
    }

    /// The end of the container's output, to append to a message.
    async fn told_output(&self, id: &str) -> String {
        let output = self.last_output(id, LOG_LINES, LOG_BYTES).await;
        output.map_or_else(String::new, |output| format!("; its last output: {output}"))
    }
}

/// Adds advice to the error of an engine that has no init program.
fn without_init(start: &Start, error: RuntimeError) -> RuntimeError {
    match error {
        RuntimeError::Failed(message) if start.spec.init && message.contains(INIT) => {
            let template = start.labels.template.as_deref().unwrap_or("NAME");
            RuntimeError::Failed(format!(
                "{message}; the engine has no {INIT}: install it there, or set templates.{template}.init = false"
            ))
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            SandboxId,
            egress::{Egress, Network},
            spec::{Limits, Readiness, StartSpec},
        },
        ports::runtime::Labels,
    };

    fn start(init: bool) -> Start {
        let spec = StartSpec {
            image: "busybox:stable".to_owned(),
            command: None,
            env: [].into(),
            ports: Vec::new(),
            limits: Limits::default(),
            init,
            privilege_escalation: false,
            agent: false,
            mounts: Vec::new(),
            network: Network::Default,
            egress: Egress::default(),
            readiness: Readiness::Started,
            ready_timeout: std::time::Duration::from_secs(1),
        };
        let labels = Labels { template: Some("python".to_owned()), ..Labels::default() };
        Start { id: SandboxId::generate(), name: "x".to_owned(), spec, labels }
    }

    #[test]
    fn an_engine_without_init_is_told_with_the_setting_that_helps() {
        for answer in [
            "exec: \"docker-init\": executable file not found in $PATH",
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: \
             error during container init: error mounting \"/usr/libexec/docker/docker-init\" to rootfs at \
             \"/sbin/docker-init\": stat /usr/libexec/docker/docker-init: no such file or directory: unknown",
        ] {
            let told = without_init(&start(true), RuntimeError::Failed(answer.to_owned())).to_string();
            assert!(told.starts_with(answer) && told.ends_with("set templates.python.init = false"), "{told}");
            let told = without_init(&start(false), RuntimeError::Failed(answer.to_owned()));
            assert_eq!(told, RuntimeError::Failed(answer.to_owned()));
        }
        let other = RuntimeError::Failed("no space left on device".to_owned());
        assert_eq!(without_init(&start(true), other.clone()), other);
    }
}
