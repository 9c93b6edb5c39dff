//! Networks, published ports, and the addresses at which they are reached.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerSummary, EndpointSettings, HostConfig, NetworkSettings,
    PortBinding, PortSummaryTypeEnum,
};

use super::{
    find::labels_of,
    host::Host,
    settings::{Ports, Reach},
};
use crate::{domain::egress::Network, runtime::identity::PORTS};

/// The engine's default network: as it is asked for, and its name in an inspected container.
const DEFAULT_NETWORK: &str = "default";
const BRIDGE: &str = "bridge";

/// What an engine is asked for to have a container join a network that is not of ours.
pub(super) fn mode(network: &Network) -> &str {
    match network {
        Network::Default => DEFAULT_NETWORK,
        other => other.as_str(),
    }
}

impl Ports {
    /// How the ports of a new container are reached. Engines publish no ports of internal networks.
    fn reach_of(self, network: &Network) -> Reach {
        if *network == Network::Internal { Reach::Network } else { self.reach }
    }

    /// The value of the label for the ports that are reached at a new container's own address. Empty rather than missing if
    /// there are none: a missing label would be inherited if the image was made from another sandbox's container.
    pub(super) fn label(self, network: &Network, ports: &[u16]) -> String {
        match self.reach_of(network) {
            Reach::Published(_) => String::new(),
            Reach::Network => ports.iter().map(u16::to_string).collect::<Vec<_>>().join(","),
        }
    }

    /// The port bindings of a new container; the engine chooses free ports of the host.
    pub(super) fn bindings(self, network: &Network, ports: &[u16]) -> HashMap<String, Option<Vec<PortBinding>>> {
        let Reach::Published(address) = self.reach_of(network) else { return HashMap::new() };
        let binding = PortBinding { host_ip: Some(address.to_string()), host_port: Some(String::new()) };
        ports.iter().map(|port| (key(*port), Some(vec![binding.clone()]))).collect()
    }
}

/// The addresses of a container's TCP ports: `{"80": "127.0.0.1:32768"}`; none while it does not run. Reads them from the
/// container, since the settings may have changed since it was created.
pub(super) fn addresses(found: &ContainerInspectResponse, host: &Host) -> BTreeMap<String, String> {
    let published = published(found, host);
    if published.is_empty() { own_addresses(found) } else { published }
}

/// [`addresses`] of a listed container.
pub(super) fn listed(summary: &ContainerSummary, host: &Host) -> BTreeMap<String, String> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in summary.ports.iter().flatten().filter(|port| port.typ == Some(PortSummaryTypeEnum::TCP)) {
        let host_port = port.public_port.map(|number| number.to_string());
        let binding = PortBinding { host_ip: port.ip.clone(), host_port };
        bindings.entry(key(port.private_port)).or_default().get_or_insert_default().push(binding);
    }
    let network_mode = summary.host_config.as_ref().and_then(|config| config.network_mode.clone());
    let shown = ContainerInspectResponse {
        config: Some(ContainerConfig { labels: summary.labels.clone(), ..Default::default() }),
        host_config: Some(HostConfig { network_mode, ..Default::default() }),
        network_settings: Some(NetworkSettings {
            ports: Some(bindings),
            networks: summary.network_settings.as_ref().and_then(|settings| settings.networks.clone()),
            ..Default::default()
        }),
        ..Default::default()
    };
    addresses(&shown, host)
}

/// The ports from the container's label, at its address on the network that it was created on.
fn own_addresses(found: &ContainerInspectResponse) -> BTreeMap<String, String> {
    let mode = found.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
    let network = mode.filter(|mode| *mode != DEFAULT_NETWORK).unwrap_or(BRIDGE);
    let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let Some(address) = networks.and_then(|networks| networks.get(network)).and_then(own_address) else {
        return BTreeMap::new();
    };
    let address = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let ports = labels_of(found).and_then(|labels| labels.get(PORTS)).map(String::as_str).unwrap_or_default();
    let ports = ports.split(',').filter(|port| port.parse::<u16>().is_ok());
    ports.map(|port| (port.to_owned(), format!("{address}:{port}"))).collect()
}

/// The engine's notation of a port.
pub(super) fn key(port: u16) -> String {
    format!("{port}/tcp")
}

fn own_address(endpoint: &EndpointSettings) -> Option<IpAddr> {
    let parsed = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    parsed(&endpoint.ip_address).or_else(|| parsed(&endpoint.global_ipv6_address))
}

fn published(found: &ContainerInspectResponse, host: &Host) -> BTreeMap<String, String> {
    let none = HashMap::new();
    let bindings = found.network_settings.as_ref().and_then(|network| network.ports.as_ref()).unwrap_or(&none);
    let mut ports = BTreeMap::new();
    for (port, bindings) in bindings {
        let (Some(port), Some(bindings)) = (port.strip_suffix("/tcp"), bindings) else { continue };
        let addresses = bindings.iter().filter_map(|binding| {
            let host_port = binding.host_port.as_deref().filter(|port| !port.is_empty())?;
            address(binding.host_ip.as_deref().unwrap_or_default(), host_port, host)
        });
        if let Some(address) = addresses.min() {
            ports.insert(port.to_owned(), address);
        }
    }
    ports
}

/// The address of a binding. A binding to all addresses is reached at the engine's host. Bindings to IPv6 addresses duplicate
/// IPv4 ones and are left out.
fn address(host_ip: &str, host_port: &str, host: &Host) -> Option<String> {
    match host_ip {
        "" | "0.0.0.0" => Some(format!("{}:{host_port}", host.name())),
        ip if ip.contains(':') => None,
        ip => Some(format!("{ip}:{host_port}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn local() -> Host {
        Host::Unix("/run/docker.sock".to_owned())
    }

    fn with_ports(ports: &[(&str, &[(&str, &str)])]) -> ContainerInspectResponse {
        let binding = |(ip, port): &(&str, &str)| PortBinding {
            host_ip: Some((*ip).to_owned()),
            host_port: Some((*port).to_owned()),
        };
        let ports = ports
            .iter()
            .map(|(port, bindings)| ((*port).to_owned(), Some(bindings.iter().map(binding).collect())))
            .collect();
        let network_settings = Some(NetworkSettings { ports: Some(ports), ..Default::default() });
        ContainerInspectResponse { network_settings, ..Default::default() }
    }

    /// A container on `network` with this address and these labelled ports.
    fn on(network: &str, address: &str, ports: &str) -> ContainerInspectResponse {
        let name = if network == DEFAULT_NETWORK { BRIDGE } else { network };
        let endpoint = EndpointSettings { ip_address: Some(address.to_owned()), ..Default::default() };
        let mut found = with_ports(&[]);
        found.network_settings.as_mut().unwrap().networks = Some([(name.to_owned(), endpoint)].into());
        found.host_config = Some(HostConfig { network_mode: Some(network.to_owned()), ..Default::default() });
        let labels = Some(HashMap::from([(PORTS.to_owned(), ports.to_owned())]));
        found.config = Some(ContainerConfig { labels, ..Default::default() });
        found
    }

    fn expected(addresses: &[(&str, &str)]) -> BTreeMap<String, String> {
        addresses.iter().map(|(port, address)| ((*port).to_owned(), (*address).to_owned())).collect()
    }

    #[test]
    fn ports_are_reached_over_ipv4_whatever_they_are_bound_to() {
        let found = with_ports(&[
            ("80/tcp", &[("127.0.0.1", "32768")]),
            ("81/tcp", &[("::", "32770"), ("0.0.0.0", "32769")]),
            ("82/tcp", &[("172.17.0.1", "32772")]),
            ("53/udp", &[("127.0.0.1", "32771")]),
            ("83/tcp", &[]),
        ]);
        let ports = |host: &Host| addresses(&found, host);
        let local_ports = [("80", "127.0.0.1:32768"), ("81", "127.0.0.1:32769"), ("82", "172.17.0.1:32772")];
        assert_eq!(ports(&local()), expected(&local_ports));
        assert_eq!(ports(&Host::Http("engine.lan:2375".to_owned()))["81"], "engine.lan:32769");
    }

    #[test]
    fn what_publishes_nothing_is_reached_at_its_own_address_by_its_labelled_ports() {
        let ports = |found: &ContainerInspectResponse| addresses(found, &local());
        let own = expected(&[("80", "172.20.0.2:80"), ("8080", "172.20.0.2:8080")]);
        assert_eq!(ports(&on("sandboxes", "172.20.0.2", "8080,80")), own);
        assert_eq!(ports(&on("default", "172.17.0.2", "80"))["80"], "172.17.0.2:80");
        for nowhere in [on("sandboxes", "", "80"), on("sandboxes", "172.20.0.2", "")] {
            assert!(ports(&nowhere).is_empty());
        }
        let mut published = on("default", "172.17.0.2", "80");
        let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some("32768".to_owned()) };
        let bound = [("80/tcp".to_owned(), Some(vec![binding]))].into();
        published.network_settings.as_mut().unwrap().ports = Some(bound);
        assert_eq!(ports(&published), expected(&[("80", "127.0.0.1:32768")]));
    }

    #[test]
    fn only_published_ports_are_bound() {
        let bound_on = |reach, network| Ports { reach }.bindings(&network, &[80]);
        let bound = |reach| bound_on(reach, Network::Isolated);
        assert!(bound(Reach::Network).is_empty());
        assert!(bound_on(Reach::Published(Ipv4Addr::LOCALHOST), Network::Internal).is_empty());
        let label = |reach| Ports { reach }.label(&Network::Isolated, &[8080, 80]);
        assert_eq!(label(Reach::Network), "8080,80");
        assert_eq!(label(Reach::Published(Ipv4Addr::LOCALHOST)), "");
        let binding = PortBinding { host_ip: Some("0.0.0.0".to_owned()), host_port: Some(String::new()) };
        let published = [("80/tcp".to_owned(), Some(vec![binding]))];
        assert_eq!(bound(Reach::Published(Ipv4Addr::UNSPECIFIED)), published.into());
    }
}
