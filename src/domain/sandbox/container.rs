//! What happens to the container without the machine's having asked for it: it ended, somebody froze, thawed or restarted
//! it, or its engine went away with it. None of this is use, so that no clock moves; one that stood still goes on.

use std::time::Duration;

use super::{
    super::{
        time::{Moment, Now},
        words::EndReason,
    },
    event::{Deed, Effects, End},
    state::{Phase, Sandbox, Up},
};

impl Sandbox {
    /// The container ended without us. While it is being started, the start itself finds out and reports.
    pub(super) fn container_ended(&mut self, reason: EndReason, exit_code: Option<i64>, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(_) => self.begin_end(End { exit_code, ..End::now(reason, now) }, false),
            Phase::Pending(_) | Phase::Ending(_) | Phase::Gone(_) => Effects::NONE,
        }
    }

    /// Thawed by hand, perhaps only by the end of a commit: not use, so that no clock moves but for the time in which it
    /// stood still. By whatever way it was asked for, a resume that is under way is done.
    pub(super) fn container_unpaused(&mut self, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(Up::Resuming { .. }) => self.resumed(now),
            Phase::Up(Up::Paused { since }) => self.thawed_by_hand(since, now),
            _ => Effects::NONE,
        }
    }

    fn thawed_by_hand(&mut self, since: Moment, now: Now) -> Effects {
        // The `pause` rule froze it, since its active timeout had passed. A thaw by hand must not be undone at once.
        if since >= self.state.expires_at {
            self.state.pause_not_before = now.moment.plus(self.state.policy.active_timeout);
        }
        self.run_again(since, now)
    }

    /// It runs again, and nobody could use it since then.
    fn run_again(&mut self, since: Moment, now: Now) -> Effects {
        self.state.phase = Phase::Up(Up::Running);
        self.stood_still(since, now);
        self.state.last_heartbeat = now.moment;
        self.write_through()
    }

    pub(super) fn container_interrupted(&mut self, now: Now) -> Effects {
        let frozen = match self.state.phase {
            Phase::Up(Up::Running | Up::Pausing) => None,
            Phase::Up(Up::Paused { since } | Up::Resuming { since }) => Some(since),
            _ => return Effects::NONE,
        };
        // Nothing is written: after a crash, the next comparison finds the container stopped, too.
        self.state.phase = Phase::Up(Up::Restarting { since: now.moment, frozen, retry: None });
        Effects::deed(Deed::Restart)
    }

    pub(super) fn restarted(&mut self, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(Up::Restarting { since, frozen: None, .. }) => self.run_again(since, now),
            Phase::Up(Up::Restarting { frozen: Some(since), .. }) => {
                self.state.phase = Phase::Up(Up::Paused { since });
                self.write_through()
            }
            _ => Effects::NONE,
        }
    }

    pub(super) fn restart_failed(&mut self, retry_in: Duration, now: Now) -> Effects {
        if let Phase::Up(Up::Restarting { retry, .. }) = &mut self.state.phase {
            *retry = Some(now.moment.plus(retry_in));
        }
        Effects::NONE
    }

    pub(super) fn container_restarted(&mut self, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(Up::Running | Up::Pausing) => {
                self.state.last_heartbeat = now.moment;
                self.write_through()
            }
            Phase::Up(Up::Paused { since } | Up::Resuming { since }) => self.thawed_by_hand(since, now),
            // What its own restart finds is told when that is done; one that waits to be tried again is tried now.
            Phase::Up(Up::Restarting { .. }) => self.retry(),
            _ => Effects::NONE,
        }
    }

    /// The container's engine was away, so that no heartbeat could be expected of it: it has a whole timeout for the next.
    pub(super) fn heartbeat_excused(&mut self, now: Now) -> Effects {
        if self.up().is_some() {
            self.state.last_heartbeat = now.moment;
        }
        Effects::NONE
    }

    /// The idle clock stood still since then: it goes on with the time that it had left. Use meanwhile has set it anew.
    fn stood_still(&mut self, since: Moment, now: Now) {
        let still = now.moment.since(since.max(self.state.last_activity));
        self.state.last_activity = self.state.last_activity.plus(still);
    }
}
