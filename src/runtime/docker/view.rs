//! An inspected container in the port's words.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as State};

use super::{
    Docker,
    ownership::{self, BASE_PORT, Look, labels_of},
};
use crate::{
    domain::lifecycle::Container,
    ports::runtime::{ContainerRef, Inspected, Labels, Owner, RuntimeError, Started},
};

const LOOPBACK: &str = "127.0.0.1";

impl Docker {
    /// A look at a sandbox's container. A foreign one is no container of it.
    pub(super) async fn view(&self, container: &ContainerRef) -> Result<Option<Inspected>, RuntimeError> {
        match self.find(container).await.map_err(|error| error.during("inspect the container"))? {
            Look::Ours(found) => Ok(Some(inspected(&found, &container.owner))),
            Look::Foreign | Look::Missing => Ok(None),
        }
    }
}

fn inspected(found: &ContainerInspectResponse, owner: &Owner) -> Inspected {
    Inspected {
        state: state(found),
        oom_killed: found.state.as_ref().and_then(|state| state.oom_killed).unwrap_or(false),
        started: started(found),
        name: found.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned(),
        image: found.config.as_ref().and_then(|config| config.image.clone()),
        labels: match owner {
            Owner::Sandglass => labels_of(found).map(ownership::parse).unwrap_or_default(),
            Owner::Reference { .. } => Labels::default(),
        },
    }
}

/// What the container is doing.
pub(super) fn state(found: &ContainerInspectResponse) -> Container {
    let Some(state) = &found.state else { return Container::Stopped(None) };
    match state.status {
        Some(State::RUNNING | State::RESTARTING) => Container::Running,
        Some(State::PAUSED) => Container::Paused,
        // It has never run: the exit code 0 that the engine shows here is nobody's.
        Some(State::CREATED) => Container::Stopped(None),
        _ => Container::Stopped(state.exit_code),
    }
}

/// The container's id and where it is reached.
pub(super) fn started(found: &ContainerInspectResponse) -> Started {
    let ports = published(found);
    let base = labels_of(found).and_then(|labels| labels.get(BASE_PORT));
    let address = base.and_then(|port| ports.get(port)).or_else(|| {
        let lowest = ports.keys().filter_map(|port| port.parse::<u16>().ok()).min();
        lowest.and_then(|port| ports.get(&port.to_string()))
    });
    Started {
        container_id: found.id.clone().unwrap_or_default(),
        base_url: address.map(|address| format!("http://{address}")),
        ports,
    }
}

/// `{"80": "127.0.0.1:32768"}`, of the TCP ports. While a container does not run, it has none.
fn published(found: &ContainerInspectResponse) -> BTreeMap<String, String> {
    let none = HashMap::new();
    let bindings = found.network_settings.as_ref().and_then(|network| network.ports.as_ref()).unwrap_or(&none);
    let mut ports = BTreeMap::new();
    for (port, bindings) in bindings {
        let (Some(port), Some(bindings)) = (port.strip_suffix("/tcp"), bindings) else { continue };
        let addresses = bindings.iter().filter_map(|binding| {
            let host_port = binding.host_port.as_deref().filter(|port| !port.is_empty())?;
            address(binding.host_ip.as_deref().unwrap_or_default(), host_port)
        });
        if let Some(address) = addresses.min() {
            ports.insert(port.to_owned(), address);
        }
    }
    ports
}

/// Where a binding is reached from this host: one to every address by way of the loopback one. Bindings to IPv6
/// addresses are the doubles of IPv4 ones.
fn address(host_ip: &str, host_port: &str) -> Option<String> {
    match host_ip {
        "" | "0.0.0.0" => Some(format!("{LOOPBACK}:{host_port}")),
        ip if ip.contains(':') => None,
        ip => Some(format!("{ip}:{host_port}")),
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerState, NetworkSettings, PortBinding};

    use super::*;

    fn found(ports: &[(&str, &[(&str, &str)])]) -> ContainerInspectResponse {
        let binding = |(ip, port): &(&str, &str)| PortBinding {
            host_ip: Some((*ip).to_owned()),
            host_port: Some((*port).to_owned()),
        };
        let ports = ports
            .iter()
            .map(|(port, bindings)| ((*port).to_owned(), Some(bindings.iter().map(binding).collect())))
            .collect();
        ContainerInspectResponse {
            id: Some("0123456789ab".to_owned()),
            network_settings: Some(NetworkSettings { ports: Some(ports), ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn ports_are_reached_over_ipv4_whatever_they_are_bound_to() {
        let ports = started(&found(&[
            ("80/tcp", &[("127.0.0.1", "32768")]),
            ("81/tcp", &[("::", "32770"), ("0.0.0.0", "32769")]),
            ("53/udp", &[("127.0.0.1", "32771")]),
            ("82/tcp", &[]),
        ]))
        .ports;
        let expected = [("80", "127.0.0.1:32768"), ("81", "127.0.0.1:32769")];
        assert_eq!(ports, expected.map(|(port, address)| (port.to_owned(), address.to_owned())).into());
    }

    #[test]
    fn the_base_url_is_of_the_labelled_port_and_else_of_the_lowest() {
        let mut found = found(&[("8080/tcp", &[("127.0.0.1", "2")]), ("443/tcp", &[("127.0.0.1", "1")])]);
        assert_eq!(started(&found).base_url.as_deref(), Some("http://127.0.0.1:1"));
        found.config = Some(ContainerConfig {
            labels: Some(HashMap::from([(BASE_PORT.to_owned(), "8080".to_owned())])),
            ..Default::default()
        });
        assert_eq!(started(&found).base_url.as_deref(), Some("http://127.0.0.1:2"));
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
