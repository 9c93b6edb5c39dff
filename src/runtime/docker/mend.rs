//! Mends networks of ours that were removed or damaged by others, and seats containers anew.

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::models::{ContainerSummaryStateEnum as State, NetworkConnectRequest, NetworkDisconnectRequest};
use ipnet::Ipv4Net;

use super::{
    Docker,
    addresses::{Bridge, LENGTH, Pending, Place},
    error::CallError,
    names::endpoint,
    networks::Survey,
    open::is_gone,
};

/// What engines say if the address of a container that is to start is taken.
const TAKEN: &str = "Address already in use";
/// What they say if the interface of its network is gone.
const NO_INTERFACE: [&str; 2] = ["could not find bridge", "no such network interface"];

/// Why a container does not start that could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unseated {
    /// Its address is taken, or its network is gone or another one.
    Place,
    /// The interface of its network is gone.
    Interface,
}

impl Unseated {
    pub(super) fn why(error: &CallError) -> Option<Self> {
        let CallError::Refused { status, message } = error else { return None };
        if NO_INTERFACE.iter().any(|part| message.contains(part)) {
            return Some(Self::Interface);
        }
        let is_gone = *status == 404 && message.contains("network");
        (is_gone || message.contains(TAKEN) || message.contains("no configured subnet")).then_some(Self::Place)
    }
}

impl Docker {
    /// Makes it possible to start a container that its network keeps from it: makes the network again, and gives the container
    /// another address if it has to.
    pub(super) async fn seat(&self, id: &str, place: &Place, why: Unseated) -> Result<Pending, CallError> {
        let _turn = self.making.lock().await;
        let bridge = self.bridge_of(place).await?;
        let bridge = if why == Unseated::Interface { self.rebuild(&bridge).await? } else { bridge };
        let pending = if bridge.subnet.contains(&place.address) && self.is_free(&bridge, place.address).await? {
            self.addresses.retake(place)
        } else {
            let full = || CallError::Broken(format!("the network {} has no address left", place.network));
            self.addresses.take_on(&bridge).ok_or_else(full)?
        };
        self.detach(id, &place.network).await?;
        self.attach(id, pending.place()).await?;
        tracing::info!(container_id = id, network = place.network, address = %pending.place().address, "seated a container anew");
        Ok(pending)
    }

    /// Makes networks again that running containers were on, and puts these back on them; and networks whose interfaces are
    /// gone, where that can be seen. `known` has the addresses that containers had, by their ids.
    pub(super) async fn mend_networks(
        &self,
        survey: &Survey,
        known: &HashMap<String, Ipv4Addr>,
    ) -> Result<(), CallError> {
        let _turn = self.making.lock().await;
        for bridge in survey.bridges.iter().filter(|bridge| self.is_damaged(bridge)) {
            tracing::warn!(network = bridge.network, "the interface of a network of ours is gone: making it again");
            self.rebuild(bridge).await?;
        }
        for container in &survey.containers {
            let is_running = matches!(container.state, Some(State::RUNNING | State::PAUSED));
            let mode = container.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
            let (Some(id), Some(mode), true) = (container.id.as_deref(), mode, is_running) else { continue };
            let Some((kind, _)) = self.names.parse(mode) else { continue };
            let place = self.listed_place(container);
            let is_seated = place.is_some() && survey.bridges.iter().any(|bridge| bridge.network == mode);
            let address = place.as_ref().map(|place| place.address).or_else(|| known.get(id).copied());
            let (false, Some(address)) = (is_seated, address) else { continue };
            tracing::warn!(container_id = id, network = mode, "a sandbox has lost its network: putting it back");
            let place = Place { kind, network: mode.to_owned(), address };
            let bridge = self.bridge_of(&place).await?;
            let place = if bridge.subnet.contains(&address) { place } else { continue };
            self.detach(id, mode).await?;
            self.attach(id, &place).await?;
        }
        Ok(())
    }

    /// Whether the bridge's interface is gone, as far as this process can see.
    fn is_damaged(&self, bridge: &Bridge) -> bool {
        self.known.is_local() && is_gone(&self.names.interface(bridge.kind, bridge.number))
    }

    /// The bridge of a place; makes it if it is gone.
    async fn bridge_of(&self, place: &Place) -> Result<Bridge, CallError> {
        if let Some(bridge) = self.learn_networks().await?.bridge(&place.network) {
            return Ok(bridge);
        }
        let unusable = || CallError::Broken(format!("the network {} is not as Sandglass makes it", place.network));
        let (kind, number) = self.names.parse(&place.network).ok_or_else(unusable)?;
        let networks = self.networks().await?;
        if networks.iter().any(|network| network.name.as_ref() == Some(&place.network)) {
            return Err(unusable());
        }
        let wanted = Ipv4Net::new(place.address, LENGTH).map(|subnet| subnet.trunc()).ok();
        self.make(kind, number, wanted, &networks).await?.ok_or_else(unusable)
    }

    /// Makes a network again with all that are on it.
    async fn rebuild(&self, bridge: &Bridge) -> Result<Bridge, CallError> {
        let attached = self.attached(&bridge.network).await?;
        for (id, _) in &attached {
            self.detach(id, &bridge.network).await?;
        }
        let network = bridge.network.as_str();
        let removed = self.engine.call(|docker| async move { docker.remove_network(network).await }).await;
        removed.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })?;
        let networks = self.networks().await?;
        let taken = || CallError::Broken(format!("the network {network} cannot be made again: its name is taken"));
        let made = self.make(bridge.kind, bridge.number, Some(bridge.subnet), &networks).await?.ok_or_else(taken)?;
        for (id, address) in attached {
            if made.subnet.contains(&address) {
                let place = Place { kind: made.kind, network: made.network.clone(), address };
                self.attach(&id, &place).await?;
            }
        }
        Ok(made)
    }

    /// Whether no running container has this address.
    async fn is_free(&self, bridge: &Bridge, address: Ipv4Addr) -> Result<bool, CallError> {
        Ok(self.attached(&bridge.network).await?.iter().all(|(_, other)| *other != address))
    }

    /// The running containers of a network, and their addresses.
    pub(super) async fn attached(&self, network: &str) -> Result<Vec<(String, Ipv4Addr)>, CallError> {
        let found = self.engine.call(|docker| async move { docker.inspect_network(network, None).await }).await?;
        let attached = found
            .containers
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(id, container)| Some((id, container.ipv4_address?.split('/').next()?.parse().ok()?)));
        Ok(attached.collect())
    }

    async fn detach(&self, id: &str, network: &str) -> Result<(), CallError> {
        let request = NetworkDisconnectRequest { container: id.to_owned(), force: Some(true) };
        let left = self.engine.call(|docker| async move { docker.disconnect_network(network, request).await }).await;
        match left {
            Err(CallError::Refused { message, .. }) if message.contains("not connected") => Ok(()),
            other => other,
        }
    }

    async fn attach(&self, id: &str, place: &Place) -> Result<(), CallError> {
        let request =
            NetworkConnectRequest { container: id.to_owned(), endpoint_config: Some(endpoint(place.address)) };
        let network = place.network.as_str();
        self.engine.call(|docker| async move { docker.connect_network(network, request).await }).await
    }
}

impl Survey {
    fn bridge(self, network: &str) -> Option<Bridge> {
        self.bridges.into_iter().find(|bridge| bridge.network == network)
    }
}
