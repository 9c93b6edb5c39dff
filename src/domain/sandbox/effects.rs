//! What comes out of the state machine.

use std::time::Duration;

use super::{
    super::{
        time::{Moment, Now},
        words::{ActivitySource, EndReason, Status},
    },
    details::MOST_HOLDS,
    event::StartProgress,
};

/// What happened to a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was created, adopted, or brought back.
    Appeared,
    /// Its status is another one.
    Status {
        /// What it was.
        from: Status,
    },
    /// Its deadlines moved, since it was used.
    Activity {
        /// By what, last.
        source: ActivitySource,
    },
    /// It will end, or be paused, unless somebody uses it in time.
    Expiring,
    /// Its start goes on.
    Progress(StartProgress),
    /// The removal of its container failed, and is tried again.
    RemovalFailed,
    /// Its container has stopped, not by itself, and runs again: its engine was away, or somebody has restarted it.
    Restarted,
    /// Its deadlines moved, and not since it was used: a heartbeat, or a pause that is under way.
    Moved,
    /// Something else that can be seen of it changed: its ports, an error, or all its times, since the wall clock was set.
    Changed,
    /// Its container is confirmed gone, and it has become a tombstone.
    Removed,
    /// The retention of its tombstone is over: nothing is left.
    Forgotten,
}

/// What a step needs written to the store, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Persist {
    /// Nothing worth writing changed.
    #[default]
    No,
    /// Only the time of the last activity moved: write behind, coalesced.
    Behind,
    /// A transition: write through, and report [`Event::Recorded`](super::Event::Recorded) with the machine's revision when it is stored.
    Through,
    /// The same, whatever the store was known to have.
    Anew,
    /// Replace the record by a tombstone, and report [`Event::Buried`](super::Event::Buried) when it is stored.
    Tombstone,
}

/// The call to the engine that follows once what must be persisted is on its way. The outcome of each is an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineCall {
    /// Create and start the container, wait until it is ready: `Started` or `StartFailed`.
    Start,
    /// Break off the start between two of its steps; it still reports `Started` or `StartFailed`.
    CancelStart,
    /// Look what a crash in mid-create has left: `Resolved` or `ResolveFailed`.
    Resolve,
    /// Freeze the container: `Paused`, `PauseFailed` or `PauseHeldBack`.
    Pause,
    /// Thaw the container: `Resumed` or `ResumeFailed`.
    Resume,
    /// Start the container again, and freeze it if the sandbox is paused: `Restarted` or `RestartFailed`.
    Restart,
    /// Stop and remove the container: `Removed` or `RemoveFailed`.
    Remove,
}

/// Why and how a sandbox ended, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// The container's exit code, where it ended by itself.
    pub exit_code: Option<i64>,
    /// The deadline that was acted on, when it was one.
    pub deadline: Option<Moment>,
    /// When it was decided.
    pub decided_at: Moment,
}

impl End {
    /// An end decided now, with nothing more to tell.
    pub fn now(reason: EndReason, now: Now) -> Self {
        Self { reason, exit_code: None, deadline: None, decided_at: now.moment }
    }

    /// An end at its deadline, decided now.
    pub fn due(reason: EndReason, deadline: Moment, now: Now) -> Self {
        Self { deadline: Some(deadline), ..Self::now(reason, now) }
    }

    /// The status on the way out: what ended badly or well by itself says so at once.
    pub fn status_while_ending(&self) -> Status {
        match self.reason {
            EndReason::Idle | EndReason::Expired | EndReason::Requested | EndReason::Orphaned => Status::Terminating,
            EndReason::Exited if self.exit_code == Some(0) => Status::Succeeded,
            EndReason::Exited
            | EndReason::OomKilled
            | EndReason::StartFailed
            | EndReason::Vanished
            | EndReason::Unresponsive => Status::Failed,
        }
    }

    /// The status on the tombstone.
    pub fn final_status(&self) -> Status {
        match self.status_while_ending() {
            Status::Terminating => Status::Terminated,
            status => status,
        }
    }

    /// When its deed began, minus when it was due; `None` where no deadline was involved.
    pub fn lateness(&self) -> Option<Duration> {
        self.deadline.map(|deadline| self.decided_at.since(deadline))
    }
}

/// What one step asks of those who drive the machine.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Effects {
    /// What to write, first of all.
    pub persist: Persist,
    /// What to ask of the engine next.
    pub call: Option<EngineCall>,
    /// What to tell those who watch.
    pub tell: Option<Change>,
    /// What has just reset the idle clock, for the counters.
    pub used: Option<ActivitySource>,
    /// The end that this step decided, for the logs and the counters.
    pub ended: Option<End>,
}

impl Effects {
    pub(super) const NONE: Self = Self { persist: Persist::No, call: None, tell: None, used: None, ended: None };

    pub(super) fn persist(persist: Persist) -> Self {
        Self { persist, ..Self::NONE }
    }

    pub(super) fn call(call: EngineCall) -> Self {
        Self { call: Some(call), ..Self::NONE }
    }

    pub(super) fn used(self, source: ActivitySource) -> Self {
        Self { used: Some(source), ..self }
    }

    pub(super) fn tell(self, change: Change) -> Self {
        Self { tell: Some(change), ..self }
    }
}

/// Why an event was refused. The state is then as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is on its way out.
    #[error("the sandbox is terminating ({reason})")]
    Terminating {
        /// Why it ends.
        reason: EndReason,
    },
    /// It has ended.
    #[error("the sandbox has ended ({reason})")]
    Gone {
        /// Why it ended.
        reason: EndReason,
    },
    /// The event needs another status.
    #[error("the sandbox is {status}: {rule}")]
    WrongState {
        /// What it is.
        status: Status,
        /// What it should have been.
        rule: &'static str,
    },
    /// It has as many holds as it can have.
    #[error("the sandbox has {MOST_HOLDS} holds, which is the most; release one first")]
    TooManyHolds,
    /// It has no hold of this name.
    #[error("the sandbox has no hold of this name")]
    NoSuchHold,
}
