//! The output of the state machine.

use std::time::Duration;

use super::{
    super::{
        time::{Moment, Now},
        words::{ActivitySource, EndReason, Status},
    },
    details::{MOST_COMMAND_HOLDS, MOST_HOLDS},
    event::StartProgress,
};

/// What happened to a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was created, adopted, or brought back.
    Appeared,
    /// Its status changed.
    Status {
        /// The status before.
        from: Status,
    },
    /// It was used, and its deadlines moved.
    Activity {
        /// What used it last.
        source: ActivitySource,
    },
    /// It will end or be paused soon unless a client uses it.
    Expiring,
    /// Its start has progressed.
    Progress(StartProgress),
    /// The removal of its container failed and will be retried.
    RemovalFailed,
    /// Its container stopped together with the engine or by hand, and runs again.
    Restarted,
    /// Its deadlines moved for another reason than use, such as a heartbeat or a pause that is under way.
    Moved,
    /// Something else changed visibly: its ports, its holds, an error, or all times because the wall clock was set.
    Changed,
    /// Its container is confirmed gone, and the sandbox is a tombstone.
    Removed,
    /// Its tombstone is past its retention and was deleted.
    Forgotten,
}

/// How a step is to be persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Persist {
    /// Nothing has to be written.
    #[default]
    No,
    /// Only the time of the last activity moved: write it behind, coalesced.
    Behind,
    /// A transition: write through, and report [`Event::Recorded`](super::Event::Recorded) with the machine's revision when it is stored.
    Through,
    /// Write the record through even if the store is known to have it.
    Anew,
    /// Replace the record by a tombstone, and report [`Event::Buried`](super::Event::Buried) when it is stored.
    Tombstone,
}

/// A call to the engine, made after the record is on its way to the store. Its outcome comes back as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineCall {
    /// Create and start the container and wait until it is ready: `Started` or `StartFailed`.
    Start,
    /// Cancel the start; it still reports `Started` or `StartFailed`.
    CancelStart,
    /// Find out what a crash during the create has left: `Resolved` or `ResolveFailed`.
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

/// How a sandbox ended or is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The reason.
    pub reason: EndReason,
    /// The container's exit code, if it ended by itself.
    pub exit_code: Option<i64>,
    /// The deadline that ended it, if one did.
    pub deadline: Option<Moment>,
    /// When it was decided.
    pub decided_at: Moment,
}

impl End {
    /// An end that is decided now, without a deadline.
    pub fn now(reason: EndReason, now: Now) -> Self {
        Self { reason, exit_code: None, deadline: None, decided_at: now.moment }
    }

    /// An end that is decided now because `deadline` has passed.
    pub fn due(reason: EndReason, deadline: Moment, now: Now) -> Self {
        Self { deadline: Some(deadline), ..Self::now(reason, now) }
    }

    /// The status while it is ending. A container that ended by itself determines it at once.
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

    /// How long after its deadline it was decided; `None` without a deadline.
    pub fn lateness(&self) -> Option<Duration> {
        self.deadline.map(|deadline| self.decided_at.since(deadline))
    }
}

/// What the actor has to do after one step.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Effects {
    /// What to write. Comes first.
    pub persist: Persist,
    /// The next call to the engine.
    pub call: Option<EngineCall>,
    /// What to tell watchers.
    pub tell: Option<Change>,
    /// The source that has just reset the idle clock, for the counters.
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

/// Why an event was refused. The sandbox is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is ending.
    #[error("the sandbox is terminating ({reason})")]
    Terminating {
        /// The reason of its end.
        reason: EndReason,
    },
    /// It has ended.
    #[error("the sandbox has ended ({reason})")]
    Gone {
        /// The reason of its end.
        reason: EndReason,
    },
    /// The event needs another status.
    #[error("the sandbox is {status}: {rule}")]
    WrongState {
        /// Its status.
        status: Status,
        /// The status that the event needs, as a sentence.
        rule: &'static str,
    },
    /// It is frozen, and no work can be done in it.
    #[error("the sandbox is paused: resume it first, or set wake = true in its template")]
    Paused,
    /// Its active timeout has passed, and no work is begun in it.
    #[error("the sandbox is inactive, since its active timeout has passed: send a keep-alive first")]
    Inactive,
    /// It has the largest allowed number of holds.
    #[error("the sandbox has {MOST_HOLDS} holds, which is the most; release one first")]
    TooManyHolds,
    /// As many commands hold it as can.
    #[error("{MOST_COMMAND_HOLDS} commands run in the sandbox, which is the most; wait until one has ended")]
    TooManyCommands,
    /// It is on no isolated network, so that it has no walls.
    #[error(
        "only a sandbox on an isolated network has rules for what it may reach (network = \"isolated\" in its template)"
    )]
    NoWalls,
    /// It has no hold of this name.
    #[error("the sandbox has no hold of this name")]
    NoSuchHold,
}
