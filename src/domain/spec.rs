//! The specification of a new container, merged from a template and a request.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::{
    egress::{Egress, Network},
    leaf::{AbsolutePath, Cpus, HttpPath, MemoryMb, Pids, Port, checked},
};

/// What a container may use. `None` sets no limit.
#[derive(Clone, Copy, Debug, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Limits {
    /// CPU cores; 0.5 is half of one.
    #[serde(default, deserialize_with = "checked::<Option<Cpus>, _>", skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Memory in MiB, swap included.
    #[serde(default, deserialize_with = "checked::<Option<MemoryMb>, _>", skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Processes and threads.
    #[serde(default, deserialize_with = "checked::<Option<Pids>, _>", skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

/// What a client has asked for at a create that only its container shows, and that sandboxes from its snapshots get, too.
#[derive(Clone, Debug, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Asked {
    /// Limits of its own.
    #[serde(default)]
    pub limits: Limits,
    /// Ports of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
}

impl Asked {
    /// As the text of a label; `None` if nothing was asked for.
    pub fn label(&self) -> Option<String> {
        // Numbers: this cannot fail.
        (*self != Self::default()).then(|| serde_json::to_string(self).unwrap_or_default())
    }

    /// Reads a label. What is not understood counts as not asked for.
    pub fn of_label(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// When a started container counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(
    rename_all = "lowercase",
    deny_unknown_fields,
    expecting = "\"none\", {tcp = PORT} or {http = {port = PORT, path = PATH}}"
)]
pub enum Readiness {
    /// As soon as it runs.
    #[default]
    #[serde(rename = "none")]
    Started,
    /// When this container port, one of `ports`, accepts a TCP connection.
    Tcp(#[serde(deserialize_with = "checked::<Port, _>")] u16),
    /// When a GET of this path on this container port answers with a status below 400.
    Http {
        /// The container port, one of `ports`.
        #[serde(deserialize_with = "checked::<Port, _>")]
        port: u16,
        /// The path, beginning with `/`.
        #[serde(deserialize_with = "checked::<HttpPath, _>")]
        path: String,
    },
}

/// A directory of the host that the container may see; the configuration has to allow its path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with source, target and, if it is wanted, read_only")]
pub struct Mount {
    /// The absolute path on the host.
    #[serde(deserialize_with = "checked::<AbsolutePath, _>")]
    pub source: String,
    /// The absolute path in the container.
    #[serde(deserialize_with = "checked::<AbsolutePath, _>")]
    pub target: String,
    /// Whether the container may only read it.
    #[serde(default = "read_only")]
    pub read_only: bool,
}

fn read_only() -> bool {
    true
}

/// What the engine needs to make a container.
#[derive(Clone, Debug, PartialEq)]
pub struct StartSpec {
    /// The image's reference.
    pub image: String,
    /// The command; `None` runs the image's own.
    pub command: Option<Vec<String>>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The container's TCP ports that can be reached from outside.
    pub ports: Vec<u16>,
    /// The limits of its resources.
    pub limits: Limits,
    /// Whether the engine's init is its first process, which forwards signals and reaps orphaned processes.
    pub init: bool,
    /// Whether its processes may gain privileges, as `sudo` does.
    pub privilege_escalation: bool,
    /// Whether the agent is mounted into it, so that people can work in it through Sandglass.
    pub agent: bool,
    /// The host's directories that it sees.
    pub mounts: Vec<Mount>,
    /// The network that it joins.
    pub network: Network,
    /// What it may reach, if that is [`Network::Isolated`].
    pub egress: Egress,
    /// When it counts as ready.
    pub readiness: Readiness,
    /// How long it may take to become ready, from its start.
    pub ready_timeout: Duration,
}

impl StartSpec {
    /// The port of the readiness probe, if it is not one of `ports`. Probes come from outside, so their port must be.
    pub fn unpublished_probe(&self) -> Option<u16> {
        match self.readiness {
            Readiness::Started => None,
            Readiness::Tcp(port) | Readiness::Http { port, .. } => Some(port).filter(|port| !self.ports.contains(port)),
        }
    }
}
