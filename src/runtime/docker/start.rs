//! The way up: image, create, start, readiness; cancelled between any two of them.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use super::{Docker, view};
use crate::ports::runtime::{RuntimeError, Start, StartProgress, Started};

impl Docker {
    /// The whole start. What has been created when it fails stays for the caller to remove.
    pub(super) async fn run_start(
        &self,
        start: &Start,
        cancel: &CancellationToken,
        progress: &(dyn Fn(StartProgress) + Send + Sync),
    ) -> Result<Started, RuntimeError> {
        self.ensure_image(&start.spec.image, cancel, progress).await?;
        progress(StartProgress::Starting);
        let id = self.create(start, cancel).await?;
        self.launch(&id, cancel).await?;
        let started = unless_cancelled(cancel, self.addresses(&id)).await?;
        progress(StartProgress::WaitingForReadiness);
        unless_cancelled(cancel, self.await_readiness(&start.spec.readiness, start.spec.ready_timeout, &started))
            .await?;
        Ok(started)
    }

    async fn launch(&self, id: &str, cancel: &CancellationToken) -> Result<(), RuntimeError> {
        let permit = unless_cancelled(cancel, async { Ok(self.engine.pool.call().await) }).await?;
        let limit = self.engine.settings.call_timeout;
        let launched =
            self.engine.call_with(permit, limit, |docker| async move { docker.start_container(id, None).await });
        launched.await.map_err(|error| error.during("start the container"))
    }

    /// Where its ports were published; a container that has ended by now did not start.
    async fn addresses(&self, id: &str) -> Result<Started, RuntimeError> {
        let found = self.alive(id).await?;
        Ok(view::started(&found))
    }
}

/// Awaits `work`, unless `cancel` comes first. For work that may be dropped anywhere.
pub(super) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(RuntimeError::Cancelled),
        outcome = work => outcome,
    }
}
