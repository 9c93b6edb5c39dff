//! Limits how often watchers are told of moved deadlines ([design: pace](crate::design::stream::pace)): at once, or, if they
//! were told within the last second, at its end.

use std::time::Duration;

use crate::domain::{Moment, sandbox::Change};

/// The shortest time between two reports of moved deadlines.
const EVERY: Duration = Duration::from_secs(1);

/// What watchers were told, and are still to be told. Only an actor that is watched has one.
#[derive(Debug)]
pub(super) struct Pace {
    /// When a moved deadline was last told of.
    told_at: Moment,
    /// What has moved a deadline since. A timer is armed to tell it.
    untold: Option<Change>,
}

/// What becomes of a change.
pub(super) enum Pacing {
    /// It is told now.
    Now(Change),
    /// It is told in this time.
    Later(Duration),
    /// It is told with what waits already.
    Waits,
}

impl Default for Pace {
    fn default() -> Self {
        Self { told_at: Moment::DISTANT_PAST, untold: None }
    }
}

impl Pace {
    /// Every change but a moved deadline is told at once, and carries the deadlines along.
    pub(super) fn take(&mut self, change: Change, now: Moment) -> Pacing {
        let since = now.since(self.told_at);
        if !matches!(change, Change::Activity { .. } | Change::Moved) {
            self.untold = None;
        } else if since >= EVERY {
            self.untold = None;
            self.told_at = now;
        } else if self.untold.replace(change).is_none() {
            return Pacing::Later(EVERY - since);
        } else {
            return Pacing::Waits;
        }
        Pacing::Now(change)
    }

    /// What is still to be told, now that its time has come.
    pub(super) fn take_untold(&mut self, now: Moment) -> Option<Change> {
        self.untold.take().inspect(|_| self.told_at = now)
    }
}
