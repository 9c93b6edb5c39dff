//! When a started container counts as ready.

use std::time::Duration;

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::causes::with_causes;
use crate::{
    domain::spec::Readiness,
    ports::runtime::{RuntimeError, Started},
};

/// Between two probes.
const POLL: Duration = Duration::from_millis(75);
/// Every so many probes, the container itself is looked at: one that has ended will never be ready.
const PROBES_PER_LOOK: u32 = 8;
/// How long one probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// How long a fresh connection has to stay open to count as taken.
const QUIET: Duration = Duration::from_millis(250);

/// Why a container did not become ready.
#[derive(Debug)]
pub(super) enum NotReady {
    /// It lives, and was not ready in time, in words.
    InTime(String),
    /// It has ended, or nobody knows, by the word of the engine.
    Ended(RuntimeError),
}

/// Asks containers whether they are ready.
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
            .map_err(|error| {
                RuntimeError::Failed(format!("failed to prepare readiness probes: {}", with_causes(&error)))
            })
    }

    /// Waits until the container is ready, for at most `limit`. `alive` asks the engine whether it still runs: now and then,
    /// and before it is given up.
    pub(super) async fn until_ready<F>(
        &self,
        readiness: &Readiness,
        limit: Duration,
        started: &Started,
        alive: impl Fn() -> F,
    ) -> Result<(), NotReady>
    where
        F: Future<Output = Result<(), RuntimeError>>,
    {
        let port = match readiness {
            Readiness::Started => return Ok(()),
            Readiness::Tcp(port) | Readiness::Http { port, .. } => port.to_string(),
        };
        let Some(address) = started.ports.get(&port) else {
            return Err(NotReady::Ended(RuntimeError::Failed(format!(
                "its readiness is asked of port {port}, which is not one of its ports"
            ))));
        };
        let mut reason = "it was never asked".to_owned();
        let ready = self.poll(readiness, address, &alive, &mut reason);
        let outcome = match timeout(limit, ready).await {
            Ok(outcome) => outcome,
            // It may have ended since the last look, and then that is the reason.
            Err(_elapsed) => match alive().await {
                Ok(()) => {
                    let message = format!("the container was not ready within {limit:?}: port {port}: {reason}");
                    return Err(NotReady::InTime(message));
                }
                ended => ended,
            },
        };
        outcome.map_err(NotReady::Ended)
    }

    async fn poll<F>(
        &self,
        readiness: &Readiness,
        address: &str,
        alive: &impl Fn() -> F,
        reason: &mut String,
    ) -> Result<(), RuntimeError>
    where
        F: Future<Output = Result<(), RuntimeError>>,
    {
        for round in 1_u32.. {
            let probed = match readiness {
                Readiness::Http { path, .. } => self.http(address, path).await,
                Readiness::Tcp(_) | Readiness::Started => tcp(address).await,
            };
            match probed {
                Ok(()) => break,
                Err(why) => *reason = why,
            }
            if round % PROBES_PER_LOOK == 0 {
                alive().await?;
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// The error says why it is not ready yet.
    async fn http(&self, address: &str, path: &str) -> Result<(), String> {
        match self.0.get(format!("http://{address}{path}")).send().await {
            Ok(answer) if answer.status().as_u16() < 400 => Ok(()),
            Ok(answer) => Err(format!("GET {path} answers {}", answer.status().as_u16())),
            Err(error) => Err(format!("GET {path}: {}", with_causes(&error.without_url()))),
        }
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
