//! The volume that has the agent: read-only, and shared by all sandboxes of an engine.

use std::collections::HashMap;

use bollard::models::{Mount, MountType, MountVolumeOptions};
use tokio::sync::Mutex;

use crate::inside::AGENT_VERSION;

/// Where the agent stands in every sandbox.
pub(super) const AGENT_PATH: &str = "/.sandglass/agent";
/// Where the volume is mounted.
pub(super) const DIRECTORY: &str = "/.sandglass";
/// The agent's path in the volume.
pub(super) const FILE: &str = "agent";
/// Marks the volume, and the container that fills it, with their version. No sandbox carries it.
pub(super) const LABEL: &str = "sandglass.agent";

/// What the names of the volumes begin with; the version follows.
pub(super) const NAME: &str = "sandglass-agent-";
/// What the name of a container that fills a volume has after the volume's.
pub(super) const FILL: &str = "-fill";

/// What is known of the volume on this engine.
#[derive(Default)]
pub(super) struct AgentVolume {
    /// Whether it was found filled. While it is looked at or filled, others wait.
    pub(super) filled: Mutex<bool>,
}

impl AgentVolume {
    /// The volume of this version of the agent.
    pub(super) fn name() -> String {
        format!("{NAME}{AGENT_VERSION}")
    }

    /// The mount of the volume in a sandbox. Nobody inside can change the agent.
    pub(super) fn mount() -> Mount {
        Self::mounted(&Self::name(), true)
    }

    pub(super) fn mounted(volume: &str, read_only: bool) -> Mount {
        Mount {
            typ: Some(MountType::VOLUME),
            source: Some(volume.to_owned()),
            target: Some(DIRECTORY.to_owned()),
            read_only: Some(read_only),
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                // For an engine that makes the volume because it is missing.
                labels: Some(labels(volume)),
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

/// The labels of a volume, and of the container that fills it: the version in its name.
pub(super) fn labels(volume: &str) -> HashMap<String, String> {
    let version = volume.strip_prefix(NAME).unwrap_or(AGENT_VERSION);
    HashMap::from([(LABEL.to_owned(), version.to_owned())])
}
