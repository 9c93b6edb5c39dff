//! Deadlines: pure functions of the state ([design: time](crate::design::time)). The timer is lazy because they are
//! cheap to ask for.

use std::time::Duration;

use super::{
    super::{
        time::Moment,
        words::{EndReason, OnTimeout},
    },
    state::{Phase, Sandbox, Up},
};

/// The timeouts that a sandbox lives by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long it may go unused; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// How long it may stay paused; `None`: for ever, since the idle clock stands still.
    pub paused_timeout: Option<Duration>,
    /// How long it may go without a heartbeat; `None`: it owes none.
    pub heartbeat_timeout: Option<Duration>,
    /// The active timeout that a create without one gets, and a resume.
    pub active_timeout: Duration,
    /// What the end of the active timeout does.
    pub on_timeout: OnTimeout,
}

/// What a deadline calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The sandbox ends.
    End(EndReason),
    /// The sandbox is paused, by its `on_timeout` rule.
    Pause,
    /// A removal, a restart or a look that failed is tried again.
    Retry,
}

impl Sandbox {
    /// When the idle rule ends it, if nothing resets it. `None` while paused without a paused timeout, while pending
    /// (the clock starts with the container), while its container is started again (the clock stands still), without an
    /// idle timeout, and once it is ending.
    pub fn idle_deadline(&self) -> Option<Moment> {
        let up = self.up()?;
        match up {
            Up::Paused { since } | Up::Resuming { since } => {
                let from = since.max(self.state.last_activity);
                self.state.policy.paused_timeout.map(|timeout| from.plus(timeout).plus(self.state.idle_slack))
            }
            Up::Running | Up::Pausing => self
                .state
                .policy
                .idle_timeout
                .map(|timeout| self.state.last_activity.plus(timeout).plus(self.state.idle_slack)),
            Up::Restarting { .. } => None,
        }
    }

    /// The next thing that will happen by itself, and when. Deadlines never act before the restart grace is over.
    pub fn next_action(&self) -> Option<(Moment, Action)> {
        match self.state.phase {
            Phase::Pending(birth) => birth.retry_at().map(|at| (at, Action::Retry)),
            Phase::Ending(ending) => ending.retry_at().map(|at| (at, Action::Retry)),
            Phase::Gone(_) => None,
            // Nothing ends because its engine was away, whichever rule would have it.
            Phase::Up(Up::Restarting { retry, .. }) => retry.map(|at| (at, Action::Retry)),
            Phase::Up(up) => {
                let idle = self.idle_deadline().map(|at| (at, Action::End(EndReason::Idle)));
                let active = self.active_timeout_action(up).map(|action| (self.state.expires_at, action));
                let heartbeat = self.heartbeat_deadline_of(up).map(|at| (at, Action::End(EndReason::Unresponsive)));
                [idle, active, heartbeat]
                    .into_iter()
                    .flatten()
                    .map(|(at, action)| match action {
                        Action::Pause => (at.max(self.state.not_before).max(self.state.pause_not_before), action),
                        Action::End(_) | Action::Retry => (at.max(self.state.not_before), action),
                    })
                    .min_by_key(|(at, _)| *at)
            }
        }
    }

    /// The moment at which Sandglass will act on it by itself: end it, or pause it. `None`: never, or it is ending.
    pub fn terminates_at(&self) -> Option<Moment> {
        self.up().filter(|_| !self.is_restarting()).and_then(|_| self.next_action()).map(|(at, _)| at)
    }

    /// Whether its active timeout has not passed.
    pub fn is_active(&self, now: Moment) -> bool {
        matches!(self.state.phase, Phase::Pending(_) | Phase::Up(_)) && now < self.state.expires_at
    }

    /// When it ends for want of a heartbeat. `None` when it owes none.
    pub fn heartbeat_deadline(&self) -> Option<Moment> {
        self.up().and_then(|up| self.heartbeat_deadline_of(up))
    }

    fn active_timeout_action(&self, up: Up) -> Option<Action> {
        match (self.state.policy.on_timeout, up) {
            (OnTimeout::Terminate, _) => Some(Action::End(EndReason::Expired)),
            (OnTimeout::Pause, Up::Running) => Some(Action::Pause),
            (OnTimeout::Pause, _) | (OnTimeout::Deactivate, _) => None,
        }
    }

    /// A frozen container cannot send heartbeats and owes none; once thawed it has a whole timeout for the next.
    fn heartbeat_deadline_of(&self, up: Up) -> Option<Moment> {
        match up {
            Up::Running => self.state.policy.heartbeat_timeout.map(|timeout| self.state.last_heartbeat.plus(timeout)),
            Up::Pausing | Up::Paused { .. } | Up::Resuming { .. } | Up::Restarting { .. } => None,
        }
    }
}
