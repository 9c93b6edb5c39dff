//! A container engine that answers at once and remembers nothing, so that only Sandglass is measured.

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use sandglass::{
    domain::EpochSeconds,
    ports::runtime::{
        ContainerEvent, ContainerRef, EndAccount, Inspected, Listed, Runtime, RuntimeError, Start, StartProgress,
        Started,
    },
};
use tokio_util::sync::CancellationToken;

/// The engine.
pub(crate) struct Instant;

#[async_trait]
impl Runtime for Instant {
    async fn start(
        &self,
        start: &Start,
        _: &CancellationToken,
        _: &(dyn Fn(StartProgress) + Send + Sync),
    ) -> Result<Started, RuntimeError> {
        Ok(Started { container_id: start.id.to_string(), ..Default::default() })
    }

    /// The engine remembers no containers, so none can be inspected.
    async fn inspect(&self, _: &ContainerRef) -> Result<Option<Inspected>, RuntimeError> {
        Err(RuntimeError::Failed("there is nothing to look at".to_owned()))
    }

    async fn await_ready(&self, _: &Inspected) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn account_of_end(&self, _: &ContainerRef) -> EndAccount {
        EndAccount::default()
    }

    async fn restart(&self, _: &ContainerRef, _: bool) -> Result<Option<Started>, RuntimeError> {
        Ok(None)
    }

    async fn pause(&self, _: &ContainerRef) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn resume(&self, _: &ContainerRef) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn remove(&self, _: &ContainerRef) -> Result<(), RuntimeError> {
        Ok(())
    }

    /// Never answers, so that sandboxes are not taken for vanished.
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        std::future::pending().await
    }

    fn events(&self, _: Option<EpochSeconds>) -> BoxStream<'static, Result<ContainerEvent, RuntimeError>> {
        stream::pending().boxed()
    }

    async fn check(&self) -> Result<(), RuntimeError> {
        Ok(())
    }
}
