//! Probes whether a started container is ready.

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

/// The pause between two probes.
const POLL: Duration = Duration::from_millis(75);
/// After this many probes, the container itself is inspected: if it has ended, it will never be ready.
const PROBES_PER_INSPECTION: u32 = 8;
/// How long one probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// How long a new connection has to stay open to count as accepted.
const QUIET: Duration = Duration::from_millis(250);

/// Why a container did not become ready.
#[derive(Debug)]
pub(super) enum NotReady {
    /// It still runs, but was not ready in time; with a message.
    InTime(String),
    /// It has ended, or the engine could not tell.
    Ended(RuntimeError),
}

/// Sends readiness probes to containers.
#[derive(Clone)]
pub(super) struct ReadyProbe(reqwest::Client);

impl ReadyProbe {
    pub(super) fn new() -> Result<Self, RuntimeError> {
        reqwest::Client::builder()
            // Proxies from the environment do not reach containers' ports.
            .no_proxy()
            // A redirect is an answer; its target may be another server.
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(PROBE_LIMIT)
            .build()
            .map(Self)
            .map_err(|error| {
                RuntimeError::Failed(format!("failed to prepare readiness probes: {}", with_causes(&error)))
            })
    }

    /// Waits at most `limit` until the container is ready. Calls `alive` now and then, and after `limit`, to find out whether
    /// the container still runs.
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
            // If it has ended since the last inspection, that is the reason.
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
            if round % PROBES_PER_INSPECTION == 0 {
                alive().await?;
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Probes once; the error says why the container is not ready.
    async fn http(&self, address: &str, path: &str) -> Result<(), String> {
        match self.0.get(format!("http://{address}{path}")).send().await {
            Ok(answer) if answer.status().as_u16() < 400 => Ok(()),
            Ok(answer) => Err(format!("GET {path} answers {}", answer.status().as_u16())),
            Err(error) => Err(format!("GET {path}: {}", with_causes(&error.without_url()))),
        }
    }
}

/// Probes once. Docker's proxy accepts every connection to a published port before it dials the container, and closes it if
/// nothing listens there. So a connection counts only if it stays open for a moment or if bytes arrive.
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
