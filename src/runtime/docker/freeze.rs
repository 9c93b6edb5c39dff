//! Pause and resume.

use bollard::models::ContainerInspectResponse;

use super::{Docker, find::Look, view};
use crate::{
    domain::sandbox::Container,
    ports::runtime::{ContainerRef, RuntimeError},
};

impl Docker {
    /// Freezes the container.
    pub(super) async fn freeze(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        let id = match self.ours(container, "pause").await? {
            (_, Container::Paused) => return Ok(()),
            (id, Container::Running) => id,
            (_, other) => return Err(not_alive("pause", other)),
        };
        let id = id.as_str();
        let outcome = self.engine.call(|docker| async move { docker.pause_container(id).await }).await;
        self.settle(container, "pause", Container::Paused, outcome.map_err(|error| error.during("pause the container")))
            .await
    }

    /// Thaws the container.
    pub(super) async fn thaw(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        let id = match self.ours(container, "resume").await? {
            (_, Container::Running) => return Ok(()),
            (id, Container::Paused) => id,
            (_, other) => return Err(not_alive("resume", other)),
        };
        let id = id.as_str();
        let outcome = self.engine.call(|docker| async move { docker.unpause_container(id).await }).await;
        self.settle(
            container,
            "resume",
            Container::Running,
            outcome.map_err(|error| error.during("resume the container")),
        )
        .await
    }

    /// After a failure, what counts is what the container does now: somebody else may have done the same, or the call
    /// took longer than its timeout.
    async fn settle(
        &self,
        container: &ContainerRef,
        deed: &str,
        wanted: Container,
        outcome: Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let Err(RuntimeError::Failed(message)) = outcome else { return outcome };
        match self.ours(container, deed).await {
            Ok((_, state)) if state == wanted => Ok(()),
            _ => Err(RuntimeError::Failed(message)),
        }
    }

    /// The full id of the sandbox's container, and what it does.
    async fn ours(&self, container: &ContainerRef, deed: &str) -> Result<(String, Container), RuntimeError> {
        match self.find(container).await.map_err(|error| error.during(&format!("{deed} the container")))? {
            Look::Ours(found) => Ok((full_id(&found)?, view::state(&found))),
            Look::Foreign => Err(RuntimeError::Failed(format!(
                "failed to {deed} the container: by its labels it is not ours, so it was left alone"
            ))),
            Look::Missing => Err(RuntimeError::Failed(format!("failed to {deed} the container: there is none"))),
        }
    }
}

/// The id that every later call uses: no other container can be meant by it.
pub(super) fn full_id(found: &ContainerInspectResponse) -> Result<String, RuntimeError> {
    found.id.clone().ok_or_else(|| RuntimeError::Failed("the engine showed a container without its id".to_owned()))
}

fn not_alive(deed: &str, state: Container) -> RuntimeError {
    let state = match state {
        Container::Stopped(Some(code)) => format!("it has ended with exit code {code}"),
        _ => "it does not run".to_owned(),
    };
    RuntimeError::Failed(format!("failed to {deed} the container: {state}"))
}
