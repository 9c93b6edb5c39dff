//! The volume that has the agent: read-only, and shared by all sandboxes of an engine.

use bollard::models::{Mount, MountType, MountVolumeOptions};
use tokio::sync::Mutex;

use crate::inside::AGENT_VERSION;

/// Where the agent stands in every sandbox.
pub(super) const AGENT_PATH: &str = "/.sandglass/agent";
/// Where the volume is mounted.
pub(super) const DIRECTORY: &str = "/.sandglass";
/// The agent's path in the volume.
pub(super) const FILE: &str = "agent";
/// Marks the volume, and the container that fills it. No sandbox carries it.
pub(super) const LABEL: &str = "sandglass.agent";

/// What is known of the volume on this engine.
#[derive(Default)]
pub(super) struct AgentVolume {
    /// Whether it was found filled. While it is looked at or filled, others wait.
    pub(super) filled: Mutex<bool>,
}

impl AgentVolume {
    /// The volume of this version of the agent.
    pub(super) fn name() -> String {
        format!("sandglass-agent-{}", AGENT_VERSION)
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
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..Default::default() }),
            ..Default::default()
        }
    }
}
