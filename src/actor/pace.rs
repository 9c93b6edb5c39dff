//! How fast moved deadlines are told ([design: pace](crate::design::stream::pace)): at once, or, if that was done
//! within this second, at its end.

use std::time::Duration;

use crate::domain::{Moment, sandbox::Change};

/// How often moved deadlines are told of, at most.
const EVERY: Duration = Duration::from_secs(1);

/// What was told, and what is still to be told. Only actors that are watched have one.
#[derive(Debug)]
pub(super) struct Pace {
    /// When a moved deadline was last told of.
    told_at: Moment,
    /// What moved a deadline since, if that was not told yet; it will be, by a timer that is armed.
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
