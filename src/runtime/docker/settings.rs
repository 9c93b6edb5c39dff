//! Settings of the adapter.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, path::PathBuf, time::Duration};

use ipnet::Ipv4Net;

/// How to reach Docker and how to treat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `unix://PATH`, `tcp://HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`. Defaults to `DOCKER_HOST`, then to the
    /// default socket.
    pub host: Option<String>,
    /// Whether `tcp://` uses TLS, as `https://` always does.
    pub tls: bool,
    /// The directory with `ca.pem`, `cert.pem` and `key.pem` for TLS.
    pub cert_path: PathBuf,
    /// How the ports of containers are reached.
    pub ports: Ports,
    /// What the subnets of isolated and internal networks are taken from.
    pub subnets: Ipv4Net,
    /// Who writes the rules of isolated networks.
    pub firewall: Firewall,
    /// Whether an isolated network is made and its rules are set before the first sandbox wants it, so that a failure shows.
    pub isolated: bool,
    /// The logins of registries.
    pub registries: Registries,
    /// The value of the label `sandglass.prefix`. Containers with another value belong to other supervisors.
    pub prefix: String,
    /// How many calls may run at once; at least 2, so that removals leave room for others.
    pub concurrency: usize,
    /// The time between SIGTERM and SIGKILL, rounded up to whole seconds.
    pub stop_grace: Duration,
    /// The timeout of one call. For a stop, the grace is added; for a create, it is tripled.
    pub call_timeout: Duration,
    /// The timeout of a pull.
    pub pull_timeout: Duration,
}

/// How ports are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Published on this address of the engine's host.
    Published(Ipv4Addr),
    /// At the container's own address on its network, without publishing.
    Network,
}

/// How ports are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// How ports are reached, except those on internal networks, which engines do not publish.
    pub reach: Reach,
}

impl Default for Ports {
    fn default() -> Self {
        Self { reach: Reach::Published(Ipv4Addr::LOCALHOST) }
    }
}

/// Who writes the rules of isolated networks into the kernel of the engine's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    /// This process where it can, else a helper container.
    Auto,
    /// This process.
    Local,
    /// A helper container.
    Helper,
    /// Nobody.
    Off,
}

/// A registry's login.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password or a token.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Sources of logins.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Registries {
    /// Logins by registry: `ghcr.io`, `registry.example.com:5000`, `docker.io`.
    pub logins: BTreeMap<String, Login>,
    /// The directory of the Docker client's `config.json`, if that is to be read.
    pub client_config: Option<PathBuf>,
}
