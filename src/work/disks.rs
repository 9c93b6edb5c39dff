//! How full the disks of sandboxes were when that was last asked.

use dashmap::DashMap;
use serde::Deserialize;

use crate::domain::SandboxId;

/// After how many new ones those of sandboxes that have ended are forgotten.
const LOOK: usize = 256;

/// The file system that a sandbox has its root on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Disk {
    /// Bytes in use, also by others on the same file system.
    #[serde(rename = "disk_used")]
    pub used: u64,
    /// Bytes that there are.
    #[serde(rename = "disk_total")]
    pub total: u64,
}

/// The last known disks.
#[derive(Default)]
pub(super) struct Disks(DashMap<SandboxId, Disk>);

impl Disks {
    pub(super) fn get(&self, id: &SandboxId) -> Option<Disk> {
        self.0.get(id).map(|disk| *disk)
    }

    pub(super) fn note(&self, id: &SandboxId, disk: Disk, lives: impl Fn(&SandboxId) -> bool) {
        if self.0.insert(id.clone(), disk).is_none() && self.0.len().is_multiple_of(LOOK) {
            self.0.retain(|id, _| lives(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_of_sandboxes_that_have_ended_are_forgotten() {
        let (disks, lives) = (Disks::default(), |id: &SandboxId| id.as_str() == "i1");
        for number in 0..3 * LOOK {
            let id = SandboxId::parse(&format!("i{number}")).unwrap();
            disks.note(&id, Disk { used: 1, total: 2 }, lives);
        }
        assert!(disks.0.len() <= LOOK, "{}", disks.0.len());
        assert_eq!(disks.get(&SandboxId::parse("i1").unwrap()), Some(Disk { used: 1, total: 2 }));
    }
}
