//! Removes containers: stops them with grace, removes them by force, and confirms that they are gone
//! ([design: termination](crate::design::engine::termination)).

use std::time::Duration;

use bollard::query_parameters::{RemoveContainerOptionsBuilder, StopContainerOptionsBuilder};
use tokio::time::{sleep, timeout};

use super::{Docker, error::CallError, find::Search, freeze::full_id, pool::Permit, view};
use crate::{
    domain::sandbox::Container,
    ports::runtime::{ContainerRef, RuntimeError},
};

const REMOVE: &str = "remove the container";

/// The pause between two checks whether a container is gone.
const POLL: Duration = Duration::from_millis(100);

impl Docker {
    /// Stops and removes the sandbox's container. Without an id, all candidates are removed.
    pub(super) async fn terminate(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        let mut lane = self.engine.pool.removal().await;
        let failed = |error: CallError| error.during(REMOVE);
        for candidate in self.candidates(container).await.map_err(failed)? {
            let found = match self.check(&candidate, container).await.map_err(failed)? {
                Search::Ours(found) => found,
                Search::Missing => {
                    self.lower(&candidate, None).await;
                    continue;
                }
                Search::Foreign => {
                    tracing::warn!(
                        sandbox_id = %container.sandbox,
                        container_id = candidate,
                        "left a container alone that is not ours by its labels"
                    );
                    continue;
                }
            };
            let id = full_id(&found)?;
            // A frozen process does not receive SIGTERM, so the grace would be useless.
            if view::state(&found) == Container::Running {
                self.stop(&id).await?;
            }
            let in_progress = self.remove_by_force(&id).await?;
            self.confirm_gone(&id, &mut lane, in_progress).await?;
            self.lower(&id, self.inspected_place(&found)).await;
        }
        Ok(())
    }

    /// Sends SIGTERM, and SIGKILL after the grace, and waits for the end. Fails only if the engine is unreachable: the
    /// removal by force comes next in any case.
    async fn stop(&self, id: &str) -> Result<(), RuntimeError> {
        let grace = self.engine.settings.stop_grace;
        let seconds = i32::try_from(grace.as_secs() + u64::from(grace.subsec_nanos() > 0)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let limit = Duration::from_secs(seconds.unsigned_abs().into()) + self.engine.settings.call_timeout;
        let permit = self.engine.pool.call().await;
        let stopped = self
            .engine
            .call_with(permit, limit, |docker| async move { docker.stop_container(id, Some(options)).await })
            .await;
        match stopped {
            Err(error) if error.is_unreachable() => Err(error.during("stop the container")),
            Err(error) if !error.is_not_found() => {
                tracing::warn!(container_id = id, %error, "failed to stop a container: removing it by force");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Kills and removes the container with its anonymous volumes. Returns the conflict if it is already being removed.
    async fn remove_by_force(&self, id: &str) -> Result<Option<CallError>, RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default().v(true).force(true).build();
        match self.engine.call(|docker| async move { docker.remove_container(id, Some(options)).await }).await {
            Ok(()) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.is_conflict() => Ok(Some(error)),
            Err(error) => Err(error.during(REMOVE)),
        }
    }

    /// Waits until the container is gone. Gives its permit to other removals between two checks.
    async fn confirm_gone<'a>(
        &'a self,
        id: &str,
        lane: &mut Permit<'a>,
        in_progress: Option<CallError>,
    ) -> Result<(), RuntimeError> {
        let gone = async {
            while self.inspect_by_id(id).await?.is_some() {
                lane.take();
                sleep(POLL).await;
                *lane = self.engine.pool.removal().await;
            }
            Ok(())
        };
        let limit = self.engine.settings.call_timeout;
        match timeout(limit, gone).await {
            Ok(outcome) => outcome.map_err(|error: CallError| error.during("see whether the container is gone")),
            Err(_elapsed) => Err(in_progress.map_or_else(
                || RuntimeError::Failed(format!("failed to {REMOVE}: it is still there after {limit:?}")),
                |conflict| conflict.during(REMOVE),
            )),
        }
    }
}
