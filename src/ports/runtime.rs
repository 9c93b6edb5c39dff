//! The interface to the container engine.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;

pub use super::{
    container::{ContainerRef, Owner},
    error::RuntimeError,
};
use super::{inside::Inside, snapshots::Snapshots, walls::Walls};
pub use crate::domain::sandbox::{StartProgress, Started};
use crate::domain::{
    EpochSeconds, SandboxId,
    egress::{Egress, Network},
    sandbox::{Container as ContainerState, Spelling},
    spec::{Asked, Readiness, StartSpec},
};

/// What a container's labels tell about its sandbox: enough to rebuild a record without the store
/// ([design: labels](crate::design::engine::labels)).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Labels {
    /// When the sandbox was requested.
    pub created_at: Option<EpochSeconds>,
    /// The template's name.
    pub template: Option<String>,
    /// The rules of its life.
    pub rules: Spelling,
    /// When the container counts as ready; `None` means as soon as it runs.
    pub readiness: Option<Readiness>,
    /// How long it may take to become ready.
    pub ready_timeout: Option<Duration>,
    /// Whether work in it while it is paused resumes it first; `None`: as its template says.
    pub wake: Option<bool>,
    /// Whether its ports answer requests without its token.
    pub public_traffic: bool,
    /// The `Host` that its ports see in requests.
    pub mask_request_host: Option<String>,
    /// What was asked for when it was made, for the sandboxes from its snapshots.
    pub asked: Asked,
    /// Its network; `None` if that is not known.
    pub network: Option<Network>,
    /// What it was to reach when it was made.
    pub egress: Egress,
}

/// A request for a new container.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The sandbox's identifier.
    pub id: SandboxId,
    /// The container's name.
    pub name: String,
    /// What to create it from.
    pub spec: StartSpec,
    /// What its labels will tell.
    pub labels: Labels,
}

/// A container as it was inspected.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspected {
    /// What it is doing.
    pub state: ContainerState,
    /// Whether the kernel has killed one of its processes for lack of memory since it was last started.
    pub oom_killed: bool,
    /// Its id and addresses.
    pub started: Started,
    /// Its name.
    pub name: String,
    /// Its image's reference.
    pub image: Option<String>,
    /// What its labels tell; empty for the reference system's.
    pub labels: Labels,
}

/// Why a container with this supervisor's labels does not belong to it. Unknown for the reference system's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stranger {
    /// Its labels name another container: it inherited them through an image that was made from that one.
    Copy,
    /// A supervisor with another store created it and may still run, beyond the reach of this host's lock.
    OfAnotherStore,
}

/// A container as a listing shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its owner by its labels, and its id. For the reference system's containers, the sandbox id is the `task_id`; a record
    /// may know the container under another one.
    pub container: ContainerRef,
    /// What it is doing, without an exit code.
    pub state: ContainerState,
    /// Its name.
    pub name: String,
    /// Its image's reference.
    pub image: Option<String>,
    /// What its labels tell; empty for the reference system's.
    pub labels: Labels,
    /// The addresses of its ports, as in [`Started`].
    pub ports: BTreeMap<String, String>,
    /// When the engine created it. Docker tells whole seconds.
    pub created_at: EpochSeconds,
    /// Why it does not belong to this supervisor despite its labels. Does not apply if a record names its id.
    pub stranger: Option<Stranger>,
}

/// What an engine knows about the end of a container that has stopped.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EndAccount {
    /// Whether the engine was up when the container ended, and stayed up. Otherwise the engine itself may have stopped the
    /// container when it went away or came back.
    pub stayed_up: bool,
    /// Whether the engine's events say that the kernel killed one of its processes for lack of memory at that time. Such an
    /// event may follow the end, in which case an inspection does not show it.
    pub out_of_memory: bool,
    /// The end of its output: at most 20 lines and 4 KiB. `None` if there is none or it was not kept.
    pub last_output: Option<String>,
}

/// Something that happened to one of this supervisor's containers, regardless of the cause.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerEvent {
    /// When it happened, by the engine's clock.
    pub at: EpochSeconds,
    /// The container, as in [`Listed`].
    pub container: ContainerRef,
    /// What happened.
    pub kind: ContainerEventKind,
    /// Why it is not this supervisor's, as in [`Listed`].
    pub stranger: Option<Stranger>,
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerEventKind {
    /// It was started.
    Started,
    /// It was frozen.
    Paused,
    /// It was thawed.
    Unpaused,
    /// The kernel killed one of its processes for lack of memory. If that was the main process, `Died` comes just before or
    /// just after this.
    OutOfMemory,
    /// Its process has ended.
    Died {
        /// The process's exit code, if the engine tells it.
        exit_code: Option<i64>,
    },
    /// It was removed.
    Destroyed,
}

/// A container engine.
///
/// Implementations limit their concurrency and the time of each call. Before they stop, pause or remove a container, they
/// check that it matches its [`ContainerRef`] ([design: ours only](crate::design::engine::ours_only)).
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Pulls the image if it is missing, creates the container with its labels, starts it and waits until it is ready.
    /// `progress` is called at each phase. `cancel` interrupts a pull or a wait, but never a creation: once this has
    /// returned, no container of this start can appear.
    ///
    /// # Errors
    /// A failed start may leave a container behind, which the caller removes.
    async fn start(
        &self,
        start: &Start,
        cancel: &CancellationToken,
        progress: &(dyn Fn(StartProgress) + Send + Sync),
    ) -> Result<Started, RuntimeError>;

    /// Inspects a container. Returns `None` only if the engine answered that it does not exist.
    ///
    /// # Errors
    /// When the engine did not answer, or not conclusively.
    async fn inspect(&self, container: &ContainerRef) -> Result<Option<Inspected>, RuntimeError>;

    /// Describes the other supervisor that is in charge of these containers, if there is one. Unknown while the engine is
    /// unreachable.
    async fn in_charge(&self) -> Option<String> {
        None
    }

    /// Takes charge, for a supervisor that holds the lease of the store with the id `store`. New containers carry that id
    /// from here on. Does not wait for an unreachable engine: when it returns, another supervisor may turn out to be in
    /// charge ([`Runtime::usurped`]). No container is touched before.
    ///
    /// # Errors
    /// A description of the other supervisor that is in charge.
    async fn take_charge(&self, _store: &str) -> Result<(), String> {
        Ok(())
    }

    /// Resolves with a description of another supervisor when one is found in charge after [`Runtime::take_charge`]. No
    /// container is touched from then on.
    async fn usurped(&self) -> String {
        std::future::pending().await
    }

    /// Lets another supervisor take charge.
    fn leave(&self) {}

    /// Waits until an inspected, running container is ready by its labels, as its interrupted start would have. Without such
    /// labels it is ready at once.
    ///
    /// # Errors
    /// [`RuntimeError::Unreachable`] when the engine is; any other error when the container is not ready in time or has ended.
    async fn await_ready(&self, found: &Inspected) -> Result<(), RuntimeError>;

    /// Tells how a stopped container ended, as far as that can be found out. Takes about two seconds: by then, an engine that
    /// is shutting down is gone, and a container that is being restarted by hand runs.
    async fn account_of_end(&self, container: &ContainerRef) -> EndAccount;

    /// Starts a stopped container with its files, waits until it is ready by its labels, and freezes it if `frozen`. Succeeds
    /// if it already runs. Returns `None` only if the engine answered that it does not exist.
    ///
    /// # Errors
    /// When the container is not running, frozen or ready as requested.
    async fn restart(&self, container: &ContainerRef, frozen: bool) -> Result<Option<Started>, RuntimeError>;

    /// Freezes the container. Succeeds if it is already frozen.
    ///
    /// # Errors
    /// When the container is not frozen.
    async fn pause(&self, container: &ContainerRef) -> Result<(), RuntimeError>;

    /// Thaws the container. Succeeds if it already runs.
    ///
    /// # Errors
    /// When the container does not run.
    async fn resume(&self, container: &ContainerRef) -> Result<(), RuntimeError>;

    /// Stops the container, kills it after the configured grace, and removes it with its anonymous volumes. Succeeds if it is
    /// already gone, also if a foreign container has its name, which is left alone.
    ///
    /// # Errors
    /// When the container is not confirmed to be gone.
    async fn remove(&self, container: &ContainerRef) -> Result<(), RuntimeError>;

    /// Lists all containers with this supervisor's or the reference system's labels, in any state, except those whose labels
    /// name no valid sandbox id.
    ///
    /// # Errors
    /// When the listing is not complete.
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError>;

    /// Streams what happens to those containers, in the engine's order, from `since` on (inclusive) as far as the engine
    /// remembers, or from the first poll on. An idle stream stays open.
    ///
    /// After an error, or at its end, the stream is broken: the caller connects again with the time of the last event, and
    /// receives that event once more. Engines forget events and silently drop them for slow readers, so only a listing
    /// closes a gap reliably.
    fn events(&self, since: Option<EpochSeconds>) -> BoxStream<'static, Result<ContainerEvent, RuntimeError>>;

    /// The way into containers, if there is one.
    fn inside(&self) -> Option<&dyn Inside> {
        None
    }

    /// Images of containers' files, if the engine makes them.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    /// The walls around sandboxes on isolated networks, if the engine has such networks.
    fn walls(&self) -> Option<&dyn Walls> {
        None
    }

    /// Checks in one cheap round trip that the engine answers.
    ///
    /// # Errors
    /// When it does not.
    async fn check(&self) -> Result<(), RuntimeError>;
}
