//! Tends the snapshots: counts them, and removes those that nothing is made from any more.

use std::time::Duration;

use tracing::warn;

use super::state::Keeper;
use crate::{domain::snapshot::Snapshot, ports::snapshots::Snapshots};

/// How old a passing snapshot is at the least when it is removed here. A fork removes its own when its sandboxes are made;
/// this is for one that a crash or a client that went away has left.
const OF_AGE: Duration = Duration::from_secs(3600);

impl Keeper {
    /// Tends them once. What fails is tried again with the next comparison.
    pub(super) async fn tend_snapshots(&self) {
        let Some(snapshots) = self.shared.runtime.snapshots() else { return };
        if let Err(error) = self.tend(snapshots).await {
            warn!(%error, "the snapshots could not be tended; the next comparison tries again");
        }
    }

    async fn tend(&self, snapshots: &dyn Snapshots) -> Result<(), crate::ports::runtime::RuntimeError> {
        let listed = snapshots.all().await?;
        let now = self.shared.clock.now().wall();
        let is_left = |snapshot: &&Snapshot| snapshot.passing && now - snapshot.created_at > OF_AGE.as_secs_f64();
        let mut known = listed.len();
        for left in listed.iter().filter(is_left) {
            known -= usize::from(snapshots.discard(&left.id).await?);
        }
        self.sandboxes.snapshots.count(known);
        snapshots.clear().await
    }
}
