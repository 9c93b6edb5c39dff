//! The drills, one a file.

mod crowd;

use futures_util::FutureExt;

use super::{Drill, Needs};

/// All drills, in the order in which they are run.
pub const DRILLS: &[Drill] = &[Drill {
    name: "crowd",
    what: "100 containers due in the same second, with a create in the middle",
    needs: Needs::Docker,
    run: |ground| crowd::run(ground).boxed(),
}];
