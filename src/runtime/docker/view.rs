//! Converts inspected containers.

use std::collections::BTreeMap;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as State};

use super::{
    Docker,
    find::{Search, labels_of, name_of},
    reach,
};
use crate::{
    domain::sandbox::Container,
    ports::runtime::{ContainerRef, Inspected, Owner, RuntimeError, Started},
    runtime::{identity::BASE_PORT, labels},
};

impl Docker {
    /// Inspects a sandbox's container. A foreign one counts as missing.
    pub(super) async fn view(&self, container: &ContainerRef) -> Result<Option<Inspected>, RuntimeError> {
        match self.find(container).await.map_err(|error| error.during("inspect the container"))? {
            Search::Ours(found) => Ok(Some(self.inspected(&found, &container.owner))),
            Search::Foreign | Search::Missing => Ok(None),
        }
    }

    pub(super) fn inspected(&self, found: &ContainerInspectResponse, owner: &Owner) -> Inspected {
        Inspected {
            state: state(found),
            oom_killed: found.state.as_ref().and_then(|state| state.oom_killed).unwrap_or(false),
            started: self.started(found),
            name: name_of(found).to_owned(),
            image: found.config.as_ref().and_then(|config| config.image.clone()),
            labels: labels_of(found).map(|all| labels::read(owner, all)).unwrap_or_default(),
        }
    }

    pub(super) fn started(&self, found: &ContainerInspectResponse) -> Started {
        let ports = reach::addresses(found, self.engine.host());
        Started { container_id: found.id.clone().unwrap_or_default(), base_url: base_url(found, &ports), ports }
    }
}

pub(super) fn state(found: &ContainerInspectResponse) -> Container {
    let Some(state) = &found.state else { return Container::Stopped(None) };
    match state.status {
        Some(State::RUNNING | State::RESTARTING) => Container::Running,
        Some(State::PAUSED) => Container::Paused,
        // It has never run, so its exit code 0 means nothing.
        Some(State::CREATED) => Container::Stopped(None),
        // A removal cannot be stopped, and the exit code of its process means nothing.
        Some(State::REMOVING) => Container::Missing,
        _ => Container::Stopped(state.exit_code),
    }
}

/// `http://` and the address of the labelled base port, or of the lowest port if there is no label.
fn base_url(found: &ContainerInspectResponse, ports: &BTreeMap<String, String>) -> Option<String> {
    let base = labels_of(found).and_then(|labels| labels.get(BASE_PORT));
    let address = base.and_then(|port| ports.get(port)).or_else(|| {
        let lowest = ports.keys().filter_map(|port| port.parse::<u16>().ok()).min();
        lowest.and_then(|port| ports.get(&port.to_string()))
    });
    address.map(|address| format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerState};

    use super::*;

    #[test]
    fn the_base_url_is_of_the_labelled_port_and_else_of_the_lowest() {
        let ports = [("8080", "127.0.0.1:2"), ("443", "127.0.0.1:1")];
        let ports = ports.map(|(port, address)| (port.to_owned(), address.to_owned())).into();
        let mut found = ContainerInspectResponse::default();
        assert_eq!(base_url(&found, &ports).as_deref(), Some("http://127.0.0.1:1"));
        found.config = Some(ContainerConfig {
            labels: Some([(BASE_PORT.to_owned(), "8080".to_owned())].into()),
            ..Default::default()
        });
        assert_eq!(base_url(&found, &ports).as_deref(), Some("http://127.0.0.1:2"));
        assert_eq!(base_url(&found, &BTreeMap::new()), None);
    }

    #[test]
    fn a_container_that_never_ran_has_no_exit_code() {
        let with = |status, code| {
            let state = ContainerState { status: Some(status), exit_code: Some(code), ..Default::default() };
            super::state(&ContainerInspectResponse { state: Some(state), ..Default::default() })
        };
        assert_eq!(with(State::CREATED, 0), Container::Stopped(None));
        assert_eq!(with(State::EXITED, 3), Container::Stopped(Some(3)));
        assert_eq!(with(State::PAUSED, 0), Container::Paused);
        assert_eq!(with(State::RUNNING, 0), Container::Running);
    }
}
