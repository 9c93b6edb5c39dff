//! What goes into the state machine and what comes out of it.

use std::time::Duration;

use super::super::{
    time::{Moment, Now},
    words::{ActivitySource, EndReason, Status},
};

/// What a sandbox's container was found to be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It has ended, or never started, with this exit code.
    Stopped(Option<i64>),
    /// There is none.
    Missing,
}

/// Everything that can happen to a sandbox.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Proof of use.
    Activity(ActivitySource),
    /// Move the active timeout to `now + timeout`.
    KeepAlive(Duration),
    /// A create with this id found it: use, and the active timeout never shrinks. None: by the policy's own.
    Reuse(Option<Duration>),
    /// Proof of life from inside.
    Heartbeat,
    /// A user wants it frozen.
    Pause,
    /// A user wants it thawed.
    Resume,
    /// It shall end, for this reason.
    Terminate(EndReason),
    /// Its creator went away before it was told of it: once it is up it ends, unless something but its create has used it.
    CreatorGone,
    /// The armed timer fired, at or before the wake-up that was asked for.
    TimerFired,
    /// The container engine answers again: what waits to be tried again is tried now.
    EngineBack,
    /// Its engine was away since the last heartbeat.
    HeartbeatExcused,
    /// The record with this revision is in the store.
    Recorded(u64),
    /// The container runs and is ready.
    Started,
    /// The container could not be started.
    StartFailed,
    /// What a look at the container told, after a crash in mid-create.
    Resolved(Container),
    /// The container could not be looked at; look again after this time.
    ResolveFailed(Duration),
    /// The container is frozen.
    Paused,
    /// Freezing failed; by the `pause` rule it is tried again after this time.
    PauseFailed(Duration),
    /// The container is thawed.
    Resumed,
    /// Thawing failed.
    ResumeFailed,
    /// The container was started again, and is frozen again if it was.
    Restarted,
    /// It could not be started again; try once more after this time.
    RestartFailed(Duration),
    /// The container is confirmed gone.
    Removed,
    /// The removal failed; try again after this time.
    RemoveFailed(Duration),
    /// The tombstone is in the store.
    Buried,
    /// The container ended by itself.
    ContainerExited {
        /// Its exit code, where one is known.
        code: Option<i64>,
        /// Whether the kernel killed it for memory.
        oom_killed: bool,
    },
    /// The container has stopped, and perhaps not by itself: its engine may have gone away with it.
    ContainerInterrupted,
    /// Somebody stopped and started the container by hand: it runs.
    ContainerRestarted,
    /// The container is gone, and not by our doing.
    ContainerVanished,
    /// Somebody froze the container by hand.
    ContainerPaused,
    /// Somebody thawed the container by hand.
    ContainerUnpaused,
}

/// How a step's new state has to reach the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Persist {
    /// Nothing worth writing changed.
    #[default]
    No,
    /// Only the time of the last activity moved: write behind, coalesced.
    Behind,
    /// A transition: write through, and report [`Event::Recorded`] with the machine's revision when it is stored.
    Through,
}

/// The deed that follows once what must be persisted is on its way; each reports its outcome as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Create and start the container, wait until it is ready: `Started` or `StartFailed`.
    Start,
    /// Break off the start between two of its steps; it still reports `Started` or `StartFailed`.
    CancelStart,
    /// Look what a crash in mid-create has left: `Resolved` or `ResolveFailed`.
    Resolve,
    /// Freeze the container: `Paused` or `PauseFailed`.
    Pause,
    /// Thaw the container: `Resumed` or `ResumeFailed`.
    Resume,
    /// Start the container again, and freeze it if the sandbox is paused: `Restarted` or `RestartFailed`, or how it ended.
    Restart,
    /// Stop and remove the container: `Removed` or `RemoveFailed`.
    Remove,
    /// Replace the record by a tombstone: `Buried`.
    Bury,
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

/// What one step asks of the machine's driver, in this order: persist, then the deed, then tell about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Effects {
    /// How the new state has to reach the store.
    pub persist: Persist,
    /// What to do next.
    pub deed: Option<Deed>,
    /// What has just reset the idle clock, for the counters.
    pub used: Option<ActivitySource>,
    /// The end that this step decided, for the logs and the counters.
    pub ended: Option<End>,
}

impl Effects {
    pub(super) const NONE: Self = Self { persist: Persist::No, deed: None, used: None, ended: None };

    pub(super) const fn persist(persist: Persist) -> Self {
        Self { persist, ..Self::NONE }
    }

    pub(super) const fn used(self, source: ActivitySource) -> Self {
        Self { used: Some(source), ..self }
    }

    pub(super) const fn deed(deed: Deed) -> Self {
        Self { deed: Some(deed), ..Self::NONE }
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
}
