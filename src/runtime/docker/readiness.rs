//! When a started container counts as ready, and how one that has ended is noticed.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{Docker, error::chain, view};
use crate::{
    domain::{sandbox::Container, spec::Readiness},
    ports::runtime::{Inspected, RuntimeError, Started},
};

/// Between two probes.
const POLL: Duration = Duration::from_millis(75);
/// Every so many probes, the container itself is looked at: one that has ended will never be ready.
const PROBES_PER_LOOK: u32 = 8;
/// How long one probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// How long a fresh connection has to stay open to count as taken.
const QUIET: Duration = Duration::from_millis(250);
/// How long a container may take whose label does not say.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
/// How much of a container's output a failure tells.
const LOG_LINES: &str = "10";
const LOG_BYTES: usize = 2000;

/// The client of HTTP probes.
#[derive(Clone)]
pub(super) struct Probe(reqwest::Client);

impl Probe {
    pub(super) fn new() -> Result<Self, RuntimeError> {
        reqwest::Client::builder()
            // A proxy of the environment knows nothing of containers' ports.
            .no_proxy()
            // A redirect is an answer; where it leads is not the container's doing.
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(PROBE_LIMIT)
            .build()
            .map(Self)
            .map_err(|error| RuntimeError::Failed(format!("failed to prepare readiness probes: {}", chain(&error))))
    }

    /// The error says why it is not ready yet.
    async fn http(&self, address: &str, path: &str) -> Result<(), String> {
        match self.0.get(format!("http://{address}{path}")).send().await {
            Ok(answer) if answer.status().as_u16() < 400 => Ok(()),
            Ok(answer) => Err(format!("GET {path} answers {}", answer.status().as_u16())),
            Err(error) => Err(format!("GET {path}: {}", chain(&error.without_url()))),
        }
    }
}

impl Docker {
    /// Waits until the container is ready. No permit is held while waiting.
    pub(super) async fn await_readiness(
        &self,
        readiness: &Readiness,
        limit: Duration,
        started: &Started,
    ) -> Result<(), RuntimeError> {
        let port = match readiness {
            Readiness::Started => return Ok(()),
            Readiness::Tcp(port) | Readiness::Http { port, .. } => port.to_string(),
        };
        let Some(address) = started.ports.get(&port) else {
            return Err(RuntimeError::Failed(format!(
                "its readiness is asked of port {port}, which is not one of its ports"
            )));
        };
        let mut reason = "it was never asked".to_owned();
        let ready = self.poll(readiness, address, &started.container_id, &mut reason);
        if let Ok(outcome) = timeout(limit, ready).await {
            return outcome;
        }
        // It may have ended since the last look, and then that is the reason.
        self.alive(&started.container_id).await?;
        let output = self.told_output(&started.container_id).await;
        Err(RuntimeError::Failed(format!(
            "the container was not ready within {limit:?}: port {port}: {reason}{output}"
        )))
    }

    /// The same by the labels of a container whose start was interrupted.
    pub(super) async fn await_labelled_readiness(&self, found: &Inspected) -> Result<(), RuntimeError> {
        let Some(readiness) = &found.labels.readiness else { return Ok(()) };
        let limit = found.labels.ready_timeout.unwrap_or(READY_TIMEOUT);
        self.await_readiness(readiness, limit, &found.started).await
    }

    async fn poll(
        &self,
        readiness: &Readiness,
        address: &str,
        container_id: &str,
        reason: &mut String,
    ) -> Result<(), RuntimeError> {
        for round in 1_u32.. {
            let probed = match readiness {
                Readiness::Http { path, .. } => self.probe.http(address, path).await,
                Readiness::Tcp(_) | Readiness::Started => tcp(address).await,
            };
            match probed {
                Ok(()) => break,
                Err(why) => *reason = why,
            }
            if round % PROBES_PER_LOOK == 0 {
                self.alive(container_id).await?;
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// The container, as long as it runs or is frozen; else why not.
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

    /// The end of what the container wrote, as the end of a message.
    async fn told_output(&self, id: &str) -> String {
        let output = self.last_output(id, LOG_LINES, LOG_BYTES).await;
        output.map_or_else(String::new, |output| format!("; its last output: {output}"))
    }
}

/// Docker's proxy takes every connection to a published port and only then dials the container; when nobody listens
/// there, it hangs up at once. So a connection counts only if it stays open a moment, or if bytes arrive on it.
async fn tcp(address: &str) -> Result<(), String> {
    let connection = match timeout(PROBE_LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_elapsed) => return Err("no answer to a connection".to_owned()),
    };
    match timeout(QUIET, connection.peek(&mut [0; 1])).await {
        Err(_still_open) => Ok(()),
        Ok(Ok(1..)) => Ok(()),
        Ok(Ok(0)) => Err("connections are closed at once: nothing listens there".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
    }
}
