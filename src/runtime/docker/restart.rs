//! Starts a stopped container again, with its files.

use super::{Docker, find::Search, freeze::full_id, view};
use crate::{
    domain::sandbox::Container,
    ports::runtime::{ContainerRef, RuntimeError, Started},
};

const RESTART: &str = "start the container again";

impl Docker {
    /// Leaves a running or frozen container as it is: an engine may have kept it.
    pub(super) async fn start_again(
        &self,
        container: &ContainerRef,
        frozen: bool,
    ) -> Result<Option<Started>, RuntimeError> {
        let _lane = self.engine.pool.restart().await;
        let Search::Ours(found) = self.find(container).await.map_err(|error| error.during(RESTART))? else {
            return Ok(None);
        };
        let id = full_id(&found)?;
        match view::state(&found) {
            Container::Missing => return Ok(None),
            Container::Stopped(_) => {
                let id = id.as_str();
                let started = self.engine.call(|docker| async move { docker.start_container(id, None).await });
                started.await.map_err(|error| error.during(RESTART))?;
            }
            Container::Running | Container::Paused => {}
        }
        let found = self.inspected(&self.alive(&id).await?, &container.owner);
        if found.state == Container::Running {
            self.await_labelled_readiness(&found).await?;
            if frozen {
                self.freeze(container).await?;
            }
        }
        Ok(Some(found.started))
    }
}
