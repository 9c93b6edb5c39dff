//! What goes into the state machine.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::words::{ActivitySource, EndReason},
    details::HoldRequest,
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
