//! What goes into the state machine and what comes out of it.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::{
        time::{Moment, Now},
        words::{ActivitySource, EndReason, Status},
    },
    holds::{HoldRequest, MOST_HOLDS},
    notice::Change,
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

/// A container that runs and is ready.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Started {
    /// The engine's id for it.
    pub container_id: String,
    /// Where its ports are reached: `{"80": "127.0.0.1:32768"}`.
    pub ports: BTreeMap<String, String>,
    /// `http://` and the address of the first port in the specification; `None` without ports.
    pub base_url: Option<String>,
}

/// How far a start has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartProgress {
    /// The image is being pulled.
    Pulling {
        /// In words: the layer's status and how much of it is here.
        status: String,
    },
    /// The container is being created and started.
    Starting,
    /// It runs, and is not ready yet.
    WaitingForReadiness,
}

/// The container that a crash in mid-create has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOver {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: Container,
    /// Its id and where it is reached.
    pub at: Started,
    /// Why it did not become ready, if it runs and did not.
    pub problem: Option<String>,
}

/// Why a container that had stopped does not run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartFailure {
    /// The engine cannot be reached: in words.
    Away(Box<str>),
    /// The engine failed at it: in words.
    Refused(Box<str>),
    /// The engine answered that there is no such container.
    Missing,
}

/// Everything that can happen to a sandbox. What is rare is boxed, so that a ping moves few bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Proof of use.
    Activity(ActivitySource),
    /// Move the active timeout to `now + timeout`.
    KeepAlive(Duration),
    /// A create with this id found it: use, and the active timeout never shrinks. None: by the policy's own.
    Reuse(Option<Duration>),
    /// Somebody takes or renews a hold.
    Hold(Box<HoldRequest>),
    /// Somebody releases the hold of this name.
    Release(Box<str>),
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
    /// Somebody watches, and wants to be warned this long before an end; zero: nobody does.
    Watched(Duration),
    /// The armed timer fired, at or before the wake-up that was asked for.
    TimerFired,
    /// The container engine answers again: what waits to be tried again is tried now.
    EngineBack,
    /// Its engine was away since the last heartbeat.
    HeartbeatExcused,
    /// The record with this revision is in the store.
    Recorded(u64),
    /// Moments have other wall-clock times now.
    WallClockSet,
    /// The store has lost everything that was written.
    StoreReverted,
    /// The store has lost the record of this sandbox.
    RecordLost,
    /// The start of the container goes on.
    Progress(Box<StartProgress>),
    /// The container runs and is ready.
    Started(Box<Started>),
    /// The container could not be started.
    StartFailed {
        /// In words.
        why: Box<str>,
    },
    /// What a crash in mid-create has left; `None`: no container.
    Resolved(Option<Box<LeftOver>>),
    /// The container could not be looked at; look again after this time.
    ResolveFailed {
        /// How long to wait.
        retry_in: Duration,
    },
    /// The container is frozen.
    Paused,
    /// Freezing failed; by the `pause` rule it is tried again after this time.
    PauseFailed {
        /// In words.
        why: Box<str>,
        /// How long to wait.
        retry_in: Duration,
    },
    /// The container was not frozen, since the store is down: a crash would leave a record that runs and a container that
    /// does not, and a supervisor that took over meanwhile may know better.
    PauseHeldBack {
        /// What is wrong with the store, in words.
        why: Box<str>,
    },
    /// The container is thawed.
    Resumed,
    /// Thawing failed.
    ResumeFailed {
        /// In words.
        why: Box<str>,
    },
    /// The container was started again, and is frozen again if it was.
    Restarted(Box<Started>),
    /// It could not be started again; try once more after this time, unless it was the last try.
    RestartFailed {
        /// Why.
        failure: RestartFailure,
        /// How long to wait.
        retry_in: Duration,
    },
    /// The container is confirmed gone.
    Removed,
    /// The removal failed; try again after this time.
    RemoveFailed {
        /// In words.
        why: Box<str>,
        /// How long to wait.
        retry_in: Duration,
    },
    /// The tombstone is in the store.
    Buried,
    /// The container ended by itself.
    ContainerExited {
        /// Its exit code, where one is known.
        code: Option<i64>,
        /// Whether the kernel killed a process of it for want of memory.
        oom_killed: bool,
        /// The end of what it wrote: at most 20 lines and 4 KiB.
        last_output: Option<Box<str>>,
    },
    /// The container has stopped, and perhaps not by itself: its engine may have gone away with it.
    ContainerInterrupted,
    /// Somebody stopped and started the container by hand: it runs, and is reached there.
    ContainerRestarted(Box<Started>),
    /// A look at the container has shown where it is reached.
    ContainerFound(Box<Started>),
    /// A look for the container has found none. Right after a start of Sandglass, the engine may still be finding its
    /// containers, after a boot for example.
    ContainerMissing,
    /// The container is gone, and not by our doing.
    ContainerVanished,
    /// Somebody froze the container by hand.
    ContainerPaused,
    /// Somebody thawed the container by hand.
    ContainerUnpaused,
}

/// What a step needs written to the store, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Persist {
    /// Nothing worth writing changed.
    #[default]
    No,
    /// Only the time of the last activity moved: write behind, coalesced.
    Behind,
    /// A transition: write through, and report [`Event::Recorded`] with the machine's revision when it is stored.
    Through,
    /// The same, whatever the store was known to have.
    Anew,
    /// Replace the record by a tombstone, and report [`Event::Buried`] when it is stored.
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
