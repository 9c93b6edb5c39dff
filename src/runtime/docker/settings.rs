//! How to reach Docker and how to treat it.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, path::PathBuf, time::Duration};

/// The name under which an engine offers its own network.
pub(super) const DEFAULT_NETWORK: &str = "default";
/// How to reach Docker and how to treat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `unix://PATH`, `tcp://HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`; without it `DOCKER_HOST` counts, then
    /// the usual socket.
    pub host: Option<String>,
    /// Whether `tcp://` is spoken over TLS, as `https://` always is.
    pub tls: bool,
    /// The directory of `ca.pem`, `cert.pem` and `key.pem` for TLS.
    pub cert_path: PathBuf,
    /// The network of containers, and how their ports are reached.
    pub ports: Ports,
    /// The logins of registries.
    pub registries: Registries,
    /// The value of the label `sandglass.prefix`: containers with another one are somebody else's.
    pub prefix: String,
    /// How many calls may be on their way at once; at least 2, so that removals leave room for others.
    pub concurrency: usize,
    /// How long a container may take to end after SIGTERM, before SIGKILL; counted in whole seconds, rounded up.
    pub stop_grace: Duration,
    /// How long one call may take. A stop may take the grace time longer, a create three times as long.
    pub call_timeout: Duration,
    /// How long one image's pull may take.
    pub pull_timeout: Duration,
}

/// How ports are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As published on this address of the engine's host.
    Published(Ipv4Addr),
    /// At the container's own address on its network; nothing is published.
    Network,
}

/// The network of containers, and how their ports are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The network's name; `default` is the engine's own.
    pub network: String,
    /// How ports are reached.
    pub reach: Reach,
}

impl Default for Ports {
    fn default() -> Self {
        Self { network: DEFAULT_NETWORK.to_owned(), reach: Reach::Published(Ipv4Addr::LOCALHOST) }
    }
}

/// A registry's login.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password, or a token in its place.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Where logins are found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Registries {
    /// By the registry as images name it: `ghcr.io`, `registry.example.com:5000`, `docker.io`.
    pub logins: BTreeMap<String, Login>,
    /// The directory of the Docker client's `config.json`; `None`: it is not read.
    pub client_config: Option<PathBuf>,
}
