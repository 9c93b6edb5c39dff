//! How networks of ours are called, made and recognized.

use std::net::Ipv4Addr;

use bollard::models::{EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, Network, NetworkCreateRequest};
use ipnet::Ipv4Net;
use sha1::{Digest, Sha1};

use super::addresses::{Bridge, Kind};
use crate::domain::name::encoded;

/// The label of a network that is ours, beside that of the prefix: `isolated` or `internal`.
const NETWORK: &str = "sandglass.network";
const PREFIX: &str = "sandglass.prefix";

const DRIVER: &str = "bridge";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const INTERFACE: &str = "com.docker.network.bridge.name";

/// How networks of a prefix, their interfaces and the table of their rules are called.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    /// The prefix in the characters of names.
    encoded: String,
    /// Tells prefixes apart in the names of interfaces, which take 15 characters.
    hash: u32,
}

impl Names {
    pub(super) fn of(prefix: &str) -> Self {
        let digest = Sha1::digest(prefix);
        let hash = u32::from_be_bytes([0, digest[0], digest[1], digest[2]]);
        Self { prefix: prefix.to_owned(), encoded: encoded(prefix), hash }
    }

    /// Differs from prefix to prefix.
    pub(super) fn seed(&self) -> u32 {
        self.hash
    }

    pub(super) fn network(&self, kind: Kind, number: u32) -> String {
        let kind = match kind {
            Kind::Isolated => "",
            Kind::Internal => "internal-",
        };
        format!("sandglass-{}-{kind}{number}", self.encoded)
    }

    /// What [`Self::network`] was made of.
    pub(super) fn parse(&self, network: &str) -> Option<(Kind, u32)> {
        let rest = network.strip_prefix("sandglass-")?.strip_prefix(self.encoded.as_str())?.strip_prefix('-')?;
        let (kind, number) = match rest.strip_prefix("internal-") {
            Some(number) => (Kind::Internal, number),
            None => (Kind::Isolated, rest),
        };
        let number = number.parse().ok()?;
        (self.network(kind, number) == network).then_some((kind, number))
    }

    /// What the names of the interfaces of all networks of `kind` begin with.
    pub(super) fn interfaces(&self, kind: Kind) -> String {
        let kind = match kind {
            Kind::Isolated => "sg",
            Kind::Internal => "si",
        };
        format!("{kind}-{:06x}-", self.hash)
    }

    pub(super) fn interface(&self, kind: Kind, number: u32) -> String {
        format!("{}{number}", self.interfaces(kind))
    }

    /// The table of the firewall.
    pub(super) fn table(&self) -> String {
        format!("sandglass-{}", self.encoded)
    }

    /// The container that writes the rules where this process cannot. No sandbox has such a name.
    pub(super) fn helper(&self) -> String {
        format!("sandglass_{}_firewall", self.encoded)
    }

    /// Whether the network carries the labels of one of ours.
    pub(super) fn claims(&self, network: &Network) -> bool {
        let labels = network.labels.as_ref();
        labels.is_some_and(|labels| labels.get(PREFIX) == Some(&self.prefix) && labels.contains_key(NETWORK))
    }

    /// The bridge that `network` is, if it is ours and as we make them.
    pub(super) fn bridge(&self, network: &Network) -> Option<Bridge> {
        let name = network.name.as_deref()?;
        let (kind, number) = self.parse(name)?;
        let request = self.request(kind, number, Ipv4Net::default());
        let (options, expected) = (network.options.as_ref()?, request.options.as_ref()?);
        let sound = network.labels.as_ref() == request.labels.as_ref()
            && network.driver.as_deref() == Some(DRIVER)
            && expected.iter().all(|(option, value)| options.get(option) == Some(value))
            && network.enable_ipv6 != Some(true)
            && network.internal.unwrap_or(false) == (kind == Kind::Internal);
        let subnet = subnets_of(network).next()?;
        sound.then(|| Bridge { kind, number, network: name.to_owned(), subnet })
    }

    pub(super) fn request(&self, kind: Kind, number: u32, subnet: Ipv4Net) -> NetworkCreateRequest {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let word = match kind {
            Kind::Isolated => "isolated",
            Kind::Internal => "internal",
        };
        NetworkCreateRequest {
            name: self.network(kind, number),
            driver: Some(DRIVER.to_owned()),
            internal: Some(kind == Kind::Internal),
            enable_ipv6: Some(false),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig { subnet: Some(subnet.to_string()), ..Default::default() }]),
                ..Default::default()
            }),
            options: Some([(ICC, "false"), (INTERFACE, &self.interface(kind, number))].map(owned).into()),
            labels: Some([(PREFIX, self.prefix.as_str()), (NETWORK, word)].map(owned).into()),
            ..Default::default()
        }
    }
}

/// What tells the engine to give a container this address.
pub(super) fn endpoint(address: Ipv4Addr) -> EndpointSettings {
    let chosen = EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..Default::default() };
    EndpointSettings { ipam_config: Some(chosen), ..Default::default() }
}

/// The subnets of a network.
pub(super) fn subnets_of(network: &Network) -> impl Iterator<Item = Ipv4Net> {
    let configured = network.ipam.as_ref().and_then(|ipam| ipam.config.as_deref()).unwrap_or_default();
    configured.iter().filter_map(|config| config.subnet.as_deref()?.parse().ok())
}
