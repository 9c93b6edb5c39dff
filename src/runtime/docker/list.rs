//! Lists containers without inspecting each.

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as State};

use super::{Docker, find::own_name, reach};
use crate::{
    domain::sandbox::Container,
    ports::runtime::{Listed, Owner, RuntimeError},
    runtime::labels,
};

impl Docker {
    /// All containers with our labels, then those with the reference system's.
    pub(super) async fn listing(&self) -> Result<Vec<Listed>, RuntimeError> {
        let [ours, theirs] = self.engine.identity().common_labels();
        let began = self.addresses.stamp();
        let found = self.labelled_with(ours).await?;
        self.addresses.settle(began, &self.listed_addresses(&found));
        let mut listed: Vec<_> = found.into_iter().filter_map(|summary| self.summarized(summary)).collect();
        // A container with both sets of labels is ours and is listed already.
        let theirs = self.labelled_with(theirs).await?.into_iter().filter_map(|summary| self.summarized(summary));
        listed.extend(theirs.filter(|one| one.container.owner != Owner::Sandglass));
        Ok(listed)
    }

    async fn labelled_with(&self, labels: Vec<String>) -> Result<Vec<ContainerSummary>, RuntimeError> {
        self.summaries(labels).await.map_err(|error| error.during("list the containers"))
    }

    /// Converts the summary, if its labels name a valid sandbox.
    fn summarized(&self, summary: ContainerSummary) -> Option<Listed> {
        let ports = reach::listed(&summary, self.engine.host());
        let (identity, labels) = (self.engine.identity(), summary.labels.unwrap_or_default());
        let container = identity.claim(summary.id.as_deref()?, &labels)?;
        let name = own_name(summary.names.as_deref().unwrap_or_default());
        Some(Listed {
            state: state(summary.state),
            stranger: identity.stranger(&container, name, &labels),
            name: name.to_owned(),
            image: summary.image,
            labels: labels::read(&container.owner, &labels),
            ports,
            created_at: summary.created.unwrap_or_default() as f64,
            container,
        })
    }
}

fn state(state: Option<State>) -> Container {
    match state {
        Some(State::RUNNING | State::RESTARTING | State::STOPPING) => Container::Running,
        Some(State::PAUSED) => Container::Paused,
        _ => Container::Stopped(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_out_has_stopped() {
        for gone in [State::CREATED, State::EXITED, State::DEAD, State::REMOVING] {
            assert_eq!(state(Some(gone)), Container::Stopped(None));
        }
        assert_eq!(state(Some(State::RESTARTING)), Container::Running);
        assert_eq!(state(Some(State::PAUSED)), Container::Paused);
    }
}
