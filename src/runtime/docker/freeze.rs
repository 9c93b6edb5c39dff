//! Pause and resume.

use bollard::{errors::Error, models::ContainerInspectResponse};

use super::{Docker, find::Search, view};
use crate::{
    domain::sandbox::Container,
    ports::runtime::{ContainerRef, RuntimeError},
};

impl Docker {
    pub(super) async fn freeze(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        let call = |docker: bollard::Docker, id: String| async move { docker.pause_container(&id).await };
        self.turn(container, "pause", Container::Running, Container::Paused, call).await
    }

    pub(super) async fn thaw(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        let call = |docker: bollard::Docker, id: String| async move { docker.unpause_container(&id).await };
        self.turn(container, "resume", Container::Paused, Container::Running, call).await
    }

    /// Turns the container from one state into another by `call`. After a failure, its state decides: somebody else may have
    /// done the same, or the call may have taken longer than its timeout.
    async fn turn<F: Future<Output = Result<(), Error>>>(
        &self,
        container: &ContainerRef,
        deed: &str,
        from: Container,
        to: Container,
        call: impl FnOnce(bollard::Docker, String) -> F,
    ) -> Result<(), RuntimeError> {
        let id = match self.ours(container, deed).await? {
            (_, state) if state == to => return Ok(()),
            (id, state) if state == from => id,
            (_, other) => return Err(not_alive(deed, other)),
        };
        let outcome = self.engine.call(|docker| call(docker, id)).await;
        let outcome = outcome.map_err(|error| error.during(&format!("{deed} the container")));
        let Err(RuntimeError::Failed(message)) = outcome else { return outcome };
        match self.ours(container, deed).await {
            Ok((_, state)) if state == to => Ok(()),
            _ => Err(RuntimeError::Failed(message)),
        }
    }

    /// The full id of the sandbox's container.
    pub(super) async fn own_id(&self, container: &ContainerRef, deed: &str) -> Result<String, RuntimeError> {
        self.ours(container, deed).await.map(|(id, _)| id)
    }

    /// The full id of the sandbox's container, and its state.
    async fn ours(&self, container: &ContainerRef, deed: &str) -> Result<(String, Container), RuntimeError> {
        match self.find(container).await.map_err(|error| error.during(&format!("{deed} the container")))? {
            Search::Ours(found) => Ok((full_id(&found)?, view::state(&found))),
            Search::Foreign => Err(RuntimeError::Failed(format!(
                "failed to {deed} the container: by its labels it is not ours, so it was left alone"
            ))),
            Search::Missing => Err(RuntimeError::Failed(format!("failed to {deed} the container: there is none"))),
        }
    }
}

/// The full id, which no other container can have.
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
