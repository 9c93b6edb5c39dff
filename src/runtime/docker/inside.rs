//! Implements the port [`Inside`] ([design: work](crate::design::work)).

use async_trait::async_trait;
use bollard::models::ContainerInspectResponse;
use futures_util::stream::BoxStream;

use super::{Docker, error::CallError, find::Search, view};
use crate::{
    domain::sandbox::Container,
    ports::{
        inside::{Connection, Inside, InsideError, Load, Output, OutputQuery},
        runtime::ContainerRef,
    },
};

#[async_trait]
impl Inside for Docker {
    async fn dial(&self, container: &ContainerRef) -> Result<Box<dyn Connection>, InsideError> {
        let found = self.existing(container).await?;
        match view::state(&found) {
            Container::Running => self.dial_agent(&found, container).await,
            Container::Paused => Err(InsideError::NotRunning("it is paused".to_owned())),
            _ => Err(InsideError::NotRunning("it has ended".to_owned())),
        }
    }

    async fn output(
        &self,
        container: &ContainerRef,
        query: OutputQuery,
    ) -> Result<BoxStream<'static, Result<Output, InsideError>>, InsideError> {
        let found = self.existing(container).await?;
        Ok(self.kept_output(found.id.unwrap_or_default(), query))
    }

    async fn load(&self, container: &ContainerRef) -> Result<Load, InsideError> {
        let found = self.existing(container).await?;
        match view::state(&found) {
            Container::Running | Container::Paused => self.measure(&found.id.unwrap_or_default()).await,
            _ => Err(InsideError::NotRunning("it has ended".to_owned())),
        }
    }
}

impl Docker {
    /// Inspects the container that is meant; there has to be one.
    async fn existing(&self, container: &ContainerRef) -> Result<ContainerInspectResponse, InsideError> {
        match self.find(container).await.map_err(|error| error.inside("inspect the container"))? {
            Search::Ours(found) => Ok(*found),
            Search::Foreign | Search::Missing => Err(InsideError::NotRunning("there is none".to_owned())),
        }
    }
}

impl CallError {
    /// Converts to an error of the port; `deed` completes "failed to …".
    pub(super) fn inside(self, deed: &str) -> InsideError {
        match self {
            Self::Unreachable { message, .. } => InsideError::Unreachable(message),
            error if error.is_not_found() => InsideError::NotRunning("there is none".to_owned()),
            error if error.is_conflict() => InsideError::NotRunning(error.to_string()),
            error => InsideError::Failed(format!("failed to {deed}: {}", error.to_string().trim_end())),
        }
    }
}
