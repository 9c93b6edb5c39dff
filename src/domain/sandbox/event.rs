//! The input of the state machine.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::{
        egress::Ranges,
        words::{ActivitySource, EndReason},
    },
    details::{HoldRequest, Work},
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
    /// The container does not exist.
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
        /// The status of a layer and how much of it was pulled.
        status: String,
    },
    /// The container is being created and started.
    Starting,
    /// It runs, and is not ready yet.
    WaitingForReadiness,
}

/// The container that a crash during the create has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOver {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: Container,
    /// Its id and addresses.
    pub at: Started,
    /// Why it did not become ready, if it runs and did not.
    pub problem: Option<String>,
}

/// Why a stopped container could not be started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartFailure {
    /// The engine cannot be reached; with its error.
    Away(Box<str>),
    /// The engine refused or failed; with its error.
    Refused(Box<str>),
    /// The engine answered that there is no such container.
    Missing,
}

/// Everything that can happen to a sandbox. Rare and large contents are boxed, so that a ping moves few bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It was used.
    Activity(ActivitySource),
    /// A keep-alive moves the active timeout to `now + timeout`.
    KeepAlive(Duration),
    /// A create with its id found it. Counts as use, and extends the active timeout, by default by its own one. Never
    /// shortens it.
    Reuse(Option<Duration>),
    /// A client takes or renews a hold.
    Hold(Box<HoldRequest>),
    /// A client releases the hold of this name.
    Release(Box<str>),
    /// Somebody wants to work in it, which is use.
    Work(Box<Work>),
    /// A client's rules for what it may reach are these from now on. They are in force already.
    Egress(Box<Ranges>),
    /// A heartbeat from inside the sandbox.
    Heartbeat,
    /// A client wants it paused.
    Pause,
    /// A client wants it resumed, and active for at least this long from then on; `None`: for its own active timeout.
    Resume(Option<Duration>),
    /// It is to end for this reason.
    Terminate(EndReason),
    /// Its creator disconnected before it was told the id. Once it is up, it ends unless it was used after its create.
    CreatorGone,
    /// Watchers want to be warned this long before an end; zero if nobody watches.
    Watched(Duration),
    /// The timer fired, at the requested time or earlier.
    TimerFired,
    /// The container engine answers again, so failed calls are retried now.
    EngineBack,
    /// Its engine was away after the last heartbeat.
    HeartbeatExcused,
    /// The record with this revision is in the store.
    Recorded(u64),
    /// The wall clock was set, so all moments have other wall-clock times.
    WallClockSet,
    /// The store has lost everything that was written.
    StoreReverted,
    /// The store has lost the record of this sandbox.
    RecordLost,
    /// The start of the container has progressed.
    Progress(Box<StartProgress>),
    /// The container runs and is ready.
    Started(Box<Started>),
    /// The container could not be started.
    StartFailed {
        /// The error.
        why: Box<str>,
    },
    /// What a crash during the create has left; `None` if there is no container.
    Resolved(Option<Box<LeftOver>>),
    /// The container could not be inspected; retry after this time.
    ResolveFailed {
        /// How long to wait before the retry.
        retry_in: Duration,
    },
    /// The container is frozen.
    Paused,
    /// Freezing failed; the `pause` rule retries it after this time.
    PauseFailed {
        /// The error.
        why: Box<str>,
        /// How long to wait before the retry.
        retry_in: Duration,
    },
    /// The container was not frozen because the store is down. A crash would leave a frozen container with a record that
    /// says otherwise, and another supervisor may have taken over.
    PauseHeldBack {
        /// The store's error.
        why: Box<str>,
    },
    /// The container is thawed.
    Resumed,
    /// Thawing failed.
    ResumeFailed {
        /// The error.
        why: Box<str>,
    },
    /// The container was started again, and is frozen again if it was.
    Restarted(Box<Started>),
    /// It could not be started again; retry after this time unless the attempts are used up.
    RestartFailed {
        /// The error.
        failure: RestartFailure,
        /// How long to wait before the retry.
        retry_in: Duration,
    },
    /// The container is confirmed gone.
    Removed,
    /// The removal failed; try again after this time.
    RemoveFailed {
        /// The error.
        why: Box<str>,
        /// How long to wait before the retry.
        retry_in: Duration,
    },
    /// The tombstone is in the store.
    Buried,
    /// The container ended by itself.
    ContainerExited {
        /// Its exit code, where one is known.
        code: Option<i64>,
        /// Whether the kernel killed one of its processes because memory ran out.
        oom_killed: bool,
        /// The end of what it wrote: at most 20 lines and 4 KiB.
        last_output: Option<Box<str>>,
    },
    /// The container has stopped, possibly together with its engine.
    ContainerInterrupted,
    /// The container was stopped and started by hand; it runs at these addresses.
    ContainerRestarted(Box<Started>),
    /// An inspection has shown the container's addresses.
    ContainerFound(Box<Started>),
    /// An inspection did not find the container. Right after a start of Sandglass, for example after a boot, the engine may
    /// not have found all of its containers yet.
    ContainerMissing,
    /// The container was removed by somebody else.
    ContainerVanished,
    /// The container was frozen by hand.
    ContainerPaused,
    /// The container was thawed by hand.
    ContainerUnpaused,
}
