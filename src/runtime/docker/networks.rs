//! Networks of our own: bridges on which sandboxes do not reach each other.
//!
//! A network is ours by its name and its labels, and used if its options are as we set them. What is not is left alone.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::Ipv4Addr,
};

use bollard::models::{ContainerInspectResponse, ContainerSummary, EndpointSettings, Network};
use ipnet::Ipv4Net;

use super::{
    Docker,
    addresses::{Bridge, Kind, Pending, Place, subnets},
    error::CallError,
    names::subnets_of,
};
use crate::{domain::egress, ports::runtime::RuntimeError};

const MAKE: &str = "make a network for isolated sandboxes";

/// How many numbers are tried for a new network.
const MOST_NUMBERS: u32 = 1000;

/// What the engine has of ours.
pub(super) struct Survey {
    pub(super) bridges: Vec<Bridge>,
    /// All containers of this prefix.
    pub(super) containers: Vec<ContainerSummary>,
}

impl Docker {
    /// Finds a place on a network of ours, and makes a network if there is none with room. `None` if the sandbox joins no such
    /// network.
    pub(super) async fn place(&self, network: &egress::Network) -> Result<Option<Pending>, RuntimeError> {
        let kind = match network {
            egress::Network::Isolated => Kind::Isolated,
            egress::Network::Internal => Kind::Internal,
            egress::Network::None | egress::Network::Default | egress::Network::Named(_) => return Ok(None),
        };
        self.place_on(kind).await.map(Some).map_err(|error| error.during(MAKE))
    }

    async fn place_on(&self, kind: Kind) -> Result<Pending, CallError> {
        if self.addresses.bridges().is_some()
            && let Some(pending) = self.addresses.take(kind)
        {
            return Ok(pending);
        }
        // One at a time, since all want the same network.
        let _turn = self.making.lock().await;
        if self.addresses.bridges().is_none() {
            self.learn_networks().await?;
        }
        if let Some(pending) = self.addresses.take(kind) {
            return Ok(pending);
        }
        self.make_next(kind).await?;
        let full = || CallError::Broken("the network that was made has no address left".to_owned());
        self.addresses.take(kind).ok_or_else(full)
    }

    /// A network of ours that the engine has, or a new one for isolated sandboxes.
    pub(super) async fn any_bridge(&self) -> Result<Bridge, CallError> {
        let _turn = self.making.lock().await;
        let known = self.addresses.bridges();
        let bridges = match known {
            Some(bridges) => bridges,
            None => self.learn_networks().await?.bridges,
        };
        match bridges.into_iter().next() {
            Some(bridge) => Ok(bridge),
            None => self.make_next(Kind::Isolated).await,
        }
    }

    /// Makes the network with the next free number. The caller has the turn.
    async fn make_next(&self, kind: Kind) -> Result<Bridge, CallError> {
        let networks = self.networks().await?;
        let taken: HashSet<_> = networks.iter().filter_map(|network| network.name.as_deref()).collect();
        let numbers = (1..=MOST_NUMBERS).filter(|number| !taken.contains(self.names.network(kind, *number).as_str()));
        for number in numbers {
            if let Some(bridge) = self.make(kind, number, None, &networks).await? {
                return Ok(bridge);
            }
        }
        Err(CallError::Broken(format!("there are {MOST_NUMBERS} networks for isolated sandboxes already")))
    }

    /// Asks the engine for the bridges and for the addresses that containers have.
    pub(super) async fn learn_networks(&self) -> Result<Survey, CallError> {
        let mut bridges = Vec::new();
        for network in self.networks().await?.iter().filter(|network| self.names.claims(network)) {
            match self.names.bridge(network) {
                Some(bridge) => bridges.push(bridge),
                None => tracing::warn!(
                    network = network.name,
                    "a network carries our labels and is not as we make them: no sandbox joins it; remove it with `docker \
                     network rm`"
                ),
            }
        }
        bridges.sort_by_key(|bridge| (bridge.kind, bridge.number));
        let [ours, _] = self.engine.identity().common_labels();
        let began = self.addresses.stamp();
        let containers = self.summaries(ours).await?;
        self.addresses.settle(began, &self.listed_addresses(&containers));
        self.addresses.know(bridges.clone());
        Ok(Survey { bridges, containers })
    }

    /// The addresses that these containers have on networks of ours.
    pub(super) fn listed_addresses(&self, containers: &[ContainerSummary]) -> HashSet<Ipv4Addr> {
        containers.iter().filter_map(|container| self.listed_place(container)).map(|place| place.address).collect()
    }

    /// Where a listed container is on a network of ours.
    pub(super) fn listed_place(&self, container: &ContainerSummary) -> Option<Place> {
        let network = container.host_config.as_ref()?.network_mode.as_deref()?;
        let networks = container.network_settings.as_ref()?.networks.as_ref()?;
        self.place_of(network, networks)
    }

    /// Where an inspected container is on a network of ours.
    pub(super) fn inspected_place(&self, found: &ContainerInspectResponse) -> Option<Place> {
        let network = found.host_config.as_ref()?.network_mode.as_deref()?;
        let networks = found.network_settings.as_ref()?.networks.as_ref()?;
        self.place_of(network, networks)
    }

    fn place_of(&self, network: &str, networks: &HashMap<String, EndpointSettings>) -> Option<Place> {
        let (kind, _) = self.names.parse(network)?;
        let endpoint = networks.get(network)?;
        let chosen = endpoint.ipam_config.as_ref().and_then(|config| config.ipv4_address.as_deref());
        let address = chosen.or(endpoint.ip_address.as_deref())?.parse().ok()?;
        Some(Place { kind, network: network.to_owned(), address })
    }

    pub(super) async fn networks(&self) -> Result<Vec<Network>, CallError> {
        self.engine.call(|docker| async move { docker.list_networks(None).await }).await
    }

    /// Makes the network with this number in the first subnet that the engine takes, `wanted` before all others. `None` if
    /// another network has its name or its interface.
    pub(super) async fn make(
        &self,
        kind: Kind,
        number: u32,
        wanted: Option<Ipv4Net>,
        others: &[Network],
    ) -> Result<Option<Bridge>, CallError> {
        let used: BTreeSet<_> = others.iter().flat_map(subnets_of).collect();
        let mut refusal = None;
        let range = self.engine.settings.subnets;
        for subnet in wanted.into_iter().chain(subnets(range, self.names.seed(), &used)) {
            let request = self.names.request(kind, number, subnet);
            let network = request.name.clone();
            match self.engine.call(|docker| async move { docker.create_network(request).await }).await {
                Ok(_) => {
                    tracing::info!(network, %subnet, "made a network for isolated sandboxes");
                    let bridge = Bridge { kind, number, network, subnet };
                    self.addresses.add(bridge.clone());
                    return Ok(Some(bridge));
                }
                Err(CallError::Refused { message, .. }) if message.contains("overlap") => refusal = Some(message),
                Err(CallError::Refused { message, .. })
                    if message.contains("same bridge name") || message.contains("already exists") =>
                {
                    return Ok(None);
                }
                Err(error) => {
                    if error.is_ambiguous() {
                        self.addresses.doubt();
                    }
                    return Err(error);
                }
            }
        }
        let last = refusal.map(|message| format!(" ({message})")).unwrap_or_default();
        Err(CallError::Broken(format!(
            "no subnet of docker.isolated_subnets = {range} is free on the engine{last}: remove networks that are not needed, \
             or set another range"
        )))
    }
}
