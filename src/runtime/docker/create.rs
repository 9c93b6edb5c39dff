//! Creates containers and leaves none behind, even if the engine answers late or the caller is dropped.

use std::{sync::Arc, time::Duration};

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder},
};
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Docker, addresses::Place, engine::Engine, error::CallError, hardening};
use crate::{
    domain::retry::Backoff,
    loops::retry,
    ports::runtime::{ContainerRef, Owner, RuntimeError, Start},
    runtime::cancel::unless_cancelled,
};

const CREATE: &str = "create the container";

/// How many call timeouts to wait for a create. A busy engine creates late, and using a late container is better than
/// removing it.
const PATIENCE: u32 = 3;

/// How long to look for the container of a create whose answer was lost.
const SETTLE: Duration = Duration::from_secs(1);
const SETTLE_POLL: Duration = Duration::from_millis(100);

impl Docker {
    /// Creates the container and returns its id. Removes a left-over of the same sandbox that has the name.
    pub(super) async fn create(
        &self,
        start: &Start,
        place: Option<&Place>,
        cancel: &CancellationToken,
    ) -> Result<String, RuntimeError> {
        match self.create_once(start, place, cancel).await? {
            Ok(id) => return Ok(id),
            Err(conflict) if conflict.is_conflict() => self.clear_name(start, &conflict.during(CREATE)).await?,
            Err(error) => return Err(self.failed(start, error).await),
        }
        match self.create_once(start, place, cancel).await? {
            Ok(id) => Ok(id),
            Err(error) => Err(self.failed(start, error).await),
        }
    }

    /// Sends one create. The request runs in a task of its own, so that dropping the caller does not interrupt it. The outer
    /// error means that it was not sent.
    ///
    /// Nobody guards that task: if it panics before it has answered, the caller fails with an ambiguous error and removes
    /// what it finds by the labels; if it panics later, the next comparison with the engine finds the container.
    async fn create_once(
        &self,
        start: &Start,
        place: Option<&Place>,
        cancel: &CancellationToken,
    ) -> Result<Result<String, CallError>, RuntimeError> {
        let _permit = unless_cancelled(cancel, async { Ok(self.engine.pool.call().await) }).await?;
        let (sender, receiver) = oneshot::channel();
        let ports = self.engine.settings.ports;
        let labels = self.engine.identity().labels(start, ports.label(&start.spec.network, &start.spec.ports));
        let body = hardening::body(&start.spec, place, ports, labels);
        tokio::spawn(create_or_discard(Arc::clone(&self.engine), start.name.clone(), body, sender));
        let limit = self.engine.settings.call_timeout * PATIENCE;
        Ok(match timeout(limit, receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_closed)) => Err(CallError::Broken("the call was given up".to_owned())),
            // This drops the receiver: if the container still appears, the task removes it.
            Err(_elapsed) => Err(CallError::TimedOut(limit)),
        })
    }

    /// Removes the container that has the name of `start` if it is a left-over of the same sandbox.
    async fn clear_name(&self, start: &Start, conflict: &RuntimeError) -> Result<(), RuntimeError> {
        let holder = self.inspect_by_id(&start.name).await.map_err(|error| error.during("see who holds the name"))?;
        // It is gone, or about to come or go: another create will tell.
        let Some(holder) = holder else { return Ok(()) };
        let mut left_over = ContainerRef::by_labels(start.id.clone(), Owner::Sandglass);
        if !self.owns(&holder, &left_over) {
            return Err(RuntimeError::Failed(format!(
                "the container name {:?} is taken by a container that is not of this sandbox, which was left alone \
                 ({conflict})",
                start.name
            )));
        }
        tracing::warn!(sandbox_id = %start.id, container_id = ?holder.id, "removing a left-over container of the same name");
        left_over.container_id = holder.id;
        self.terminate(&left_over).await
    }

    /// The error of a failed create. If the answer was lost, the container may be about to appear, and the caller's removal
    /// has to find it: so this first waits for it a little.
    async fn failed(&self, start: &Start, error: CallError) -> RuntimeError {
        if error.is_ambiguous() {
            let container = ContainerRef::by_labels(start.id.clone(), Owner::Sandglass);
            let settled = timeout(SETTLE, async {
                // An error ends the wait, too: an engine that is down creates nothing.
                while self.candidates(&container).await.is_ok_and(|found| found.is_empty()) {
                    tokio::time::sleep(SETTLE_POLL).await;
                }
            });
            let _ = settled.await;
        }
        match error {
            CallError::Refused { status: 404, message } => {
                RuntimeError::Failed(format!("failed to create the container from {}: {message}", start.spec.image))
            }
            error => error.during(CREATE),
        }
    }
}

/// Creates a container and sends the outcome. If the receiver is gone, removes the container.
async fn create_or_discard(
    engine: Arc<Engine>,
    name: String,
    body: ContainerCreateBody,
    outcome: oneshot::Sender<Result<String, CallError>>,
) {
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let created = engine
        .unbounded(|docker| async move { docker.create_container(Some(options), body).await })
        .await
        .map(|created| created.id);
    let Err(Ok(id)) = outcome.send(created) else { return };
    tracing::warn!(container_id = id, name, "a container was created after its start had ended: removing it");
    let remove = || async {
        let options = RemoveContainerOptionsBuilder::default().v(true).force(true).build();
        let _lane = engine.pool.removal().await;
        let removed = engine.call(async |docker| docker.remove_container(&id, Some(options)).await).await;
        removed.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
    };
    retry(Backoff::STANDARD, remove, |error, failures| {
        tracing::warn!(name, %error, failures, "failed to remove a container that was created too late");
    })
    .await;
}
