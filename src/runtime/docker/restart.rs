//! Starts a stopped container again, with its files.

use super::{
    Docker,
    addresses::Place,
    find::Search,
    freeze::full_id,
    mend::Unseated,
    start::{SEAT, TURNS},
    view,
};
use crate::{
    domain::{egress::Egress, sandbox::Container},
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
                let labelled = self.inspected(&found, &container.owner).labels.egress;
                self.start_stopped(&id, self.inspected_place(&found), &labelled).await?;
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

    /// Puts the container's rules in place, and starts it.
    async fn start_stopped(&self, id: &str, mut place: Option<Place>, labelled: &Egress) -> Result<(), RuntimeError> {
        // The address is not given to others while this goes on.
        let mut _pending = place.as_ref().map(|place| self.addresses.retake(place));
        let _starting = self.known.starting(id);
        for turn in 1.. {
            if let Some(place) = &place {
                let raised = self.raise_again(id, place, labelled).await;
                raised.map_err(|error| RuntimeError::Failed(error.to_string()))?;
            }
            let started = self.engine.call(|docker| async move { docker.start_container(id, None).await });
            let Err(error) = started.await else { break };
            match (&place, Unseated::why(&error)) {
                (Some(old), Some(why)) if turn < TURNS => {
                    let pending = self.seat(id, old, why).await.map_err(|error| error.during(SEAT))?;
                    place = Some(pending.place().clone());
                    _pending = Some(pending);
                }
                _ => return Err(error.during(RESTART)),
            }
        }
        Ok(())
    }
}
