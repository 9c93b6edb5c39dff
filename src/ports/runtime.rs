//! The seam to the container engine.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;

pub use crate::domain::sandbox::{StartProgress, Started};
use crate::domain::{
    EpochSeconds, Sandbox, SandboxId,
    rehydrate::task_id,
    sandbox::{Container as ContainerState, Spelling},
    spec::{Readiness, StartSpec},
};

/// Which container: whose it is, and what is known of it. Labels alone prove nothing, since an image that was made of a
/// container carries them on into every container of that image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRef {
    /// The sandbox it belongs to.
    pub sandbox: SandboxId,
    /// The engine's id for it, from a record or from a container that names itself. With it, no other container is meant;
    /// without it, one is looked for that carries the owner's labels, and is called as its record says or, where no record
    /// tells, as its own labels say.
    pub container_id: Option<String>,
    /// What the record calls it. It counts only without an id.
    pub name: Option<String>,
    /// Whose labels it carries.
    pub owner: Owner,
}

impl ContainerRef {
    /// A sandbox's own container: one that was taken over carries the reference system's labels.
    pub fn of(sandbox: &Sandbox) -> Self {
        let details = &sandbox.details;
        let owner = if details.taken_over {
            Owner::Reference { task_id: task_id(&details.id, &details.metadata) }
        } else {
            Owner::Sandglass
        };
        Self {
            sandbox: details.id.clone(),
            container_id: details.container_id.as_deref().map(Into::into),
            name: Some(&*details.container_name).filter(|name| !name.is_empty()).map(Into::into),
            owner,
        }
    }

    /// The container of a sandbox that has no record: the one whose labels name it.
    pub fn by_labels(sandbox: SandboxId, owner: Owner) -> Self {
        Self { sandbox, container_id: None, name: None, owner }
    }
}

/// Whose labels a container carries ([design: ours only](crate::design::engine::ours_only)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Ours: `sandglass.prefix` and `sandglass.id`; and `sandglass.container`, the name of the container that they were
    /// given to.
    Sandglass,
    /// The reference system's, of a record that was taken over: `owner=executor_manager` and this `task_id`.
    Reference {
        /// The label's value.
        task_id: String,
    },
}

/// What a container's labels tell of its sandbox: enough to rebuild a record without the store
/// ([design: labels](crate::design::engine::labels)).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Labels {
    /// When the sandbox was asked for.
    pub created_at: Option<EpochSeconds>,
    /// The template's name.
    pub template: Option<String>,
    /// The rules that it lives by.
    pub rules: Spelling,
    /// When the container counts as ready; `None`: as soon as it runs.
    pub readiness: Option<Readiness>,
    /// How long it may take to become ready.
    pub ready_timeout: Option<Duration>,
}

/// A new container.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The sandbox's identifier.
    pub id: SandboxId,
    /// The container's name.
    pub name: String,
    /// What it is made from.
    pub spec: StartSpec,
    /// What its labels shall tell.
    pub labels: Labels,
}

/// A container as a look at it found it.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspected {
    /// What it is doing.
    pub state: ContainerState,
    /// Whether the kernel killed a process of it for want of memory since it was last started.
    pub oom_killed: bool,
    /// Its id and where it is reached.
    pub started: Started,
    /// Its name.
    pub name: String,
    /// Its image's reference.
    pub image: Option<String>,
    /// What its labels tell; all empty on the reference system's.
    pub labels: Labels,
}

/// Why a container with our labels is not ours. Of the reference system's containers, this is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stranger {
    /// Its labels name another container: they came with an image that was made of that one.
    Copy,
    /// A supervisor with another store made it, and may live: this host's lock says nothing of it.
    OfAnotherStore,
}

/// A container as a listing shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Whose it is by its labels, with its id. Of the reference system's containers, the sandbox is the one named like
    /// the `task_id`; a record may know it under another name.
    pub container: ContainerRef,
    /// What it is doing; a listing shows no exit code.
    pub state: ContainerState,
    /// Its name.
    pub name: String,
    /// Its image's reference.
    pub image: Option<String>,
    /// What its labels tell; all empty on the reference system's.
    pub labels: Labels,
    /// Where its ports are reached, as in [`Started`].
    pub ports: BTreeMap<String, String>,
    /// When the engine made it; in whole seconds, where the engine shows no more.
    pub created_at: EpochSeconds,
    /// Why it is not ours although it carries our labels, unless a record names its id.
    pub stranger: Option<Stranger>,
}

/// What an engine tells of the end of a container that has stopped.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EndAccount {
    /// Whether the engine was up when the container ended, and stayed so: it ended by itself, or somebody stopped it. If
    /// not, nobody can know: the engine may have stopped it as it went away, or as it came back.
    pub stayed_up: bool,
    /// Whether the kernel killed a process of it for want of memory at that time, by the engine's events: that word may
    /// come after the end, and then a look at the container does not have it.
    pub out_of_memory: bool,
    /// The end of what it wrote: at most 20 lines and 4 KiB. `None`: nothing, or nobody has kept it.
    pub last_output: Option<String>,
}

/// Something that happened to a container of ours, whoever did it.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerEvent {
    /// When, by the engine's clock.
    pub at: EpochSeconds,
    /// To which one, by its labels, with its id; as in [`Listed`].
    pub container: ContainerRef,
    /// What.
    pub kind: ContainerEventKind,
    /// As in [`Listed`].
    pub stranger: Option<Stranger>,
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerEventKind {
    /// It runs now.
    Started,
    /// It was frozen.
    Paused,
    /// It was thawed.
    Unpaused,
    /// The kernel killed a process of it for want of memory. If that was its only one, it died: just before or just
    /// after this, in either order.
    OutOfMemory,
    /// Its process has ended.
    Died {
        /// With which code, if the engine tells.
        exit_code: Option<i64>,
    },
    /// It was removed.
    Destroyed,
}

/// Why the engine did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The engine cannot be reached.
    #[error("the container engine cannot be reached: {0}")]
    Unreachable(String),
    /// The engine refused, failed, or took too long.
    #[error("{0}")]
    Failed(String),
    /// The start was cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// A container engine. Implementations bound their concurrency and the time of each call, and check exactly the container
/// they are about to touch against all that the [`ContainerRef`] tells: what is not ours is never stopped, paused or removed
/// ([design: ours only](crate::design::engine::ours_only)).
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Pulls the image if it is missing, creates the container with its labels, starts it and waits until it is ready.
    /// `cancel` breaks this off between two calls to the engine, or in a pull or a wait: never in the middle of a
    /// creation, so that when this returns, no container of it can appear any more. `progress` is told of each phase.
    ///
    /// # Errors
    /// What has been created by then may be left behind: the caller removes it.
    async fn start(
        &self,
        start: &Start,
        cancel: &CancellationToken,
        progress: &(dyn Fn(StartProgress) + Send + Sync),
    ) -> Result<Started, RuntimeError>;

    /// Looks at a sandbox's container. `None`: the engine answered that there is none.
    ///
    /// # Errors
    /// An error is never "none".
    async fn inspect(&self, container: &ContainerRef) -> Result<Option<Inspected>, RuntimeError>;

    /// Who else is in charge of these containers, in words, if that is known without touching any. It is not known while the
    /// engine is away.
    async fn in_charge(&self) -> Option<String> {
        None
    }

    /// Takes charge, for a supervisor that holds the lease of `store`, which is told by its id: from here on, new containers
    /// tell that id. Before the engine has answered, no container is touched, and when it does, somebody else may be found in
    /// charge ([`Runtime::usurped`]); an engine that is away is not waited for.
    ///
    /// # Errors
    /// Who else is in charge, in words.
    async fn take_charge(&self, _store: &str) -> Result<(), String> {
        Ok(())
    }

    /// Resolves when somebody else is found in charge after [`Runtime::take_charge`], with who that is. From then on, no
    /// container is touched.
    async fn usurped(&self) -> String {
        std::future::pending().await
    }

    /// Lets somebody else take charge.
    fn leave(&self) {}

    /// Waits until a running container that was looked at is ready by its labels, as the start that was interrupted would
    /// have. One whose labels ask for nothing is ready.
    ///
    /// # Errors
    /// [`RuntimeError::Unreachable`] when the engine is; anything else: it is not ready within its time, or has ended.
    async fn await_ready(&self, found: &Inspected) -> Result<(), RuntimeError>;

    /// Tells how a container that has stopped came to its end. This takes about two seconds: an engine that is on its way
    /// out has gone by then, and who restarts a container by hand has started it. What cannot be had is not in the answer.
    async fn account_of_end(&self, container: &ContainerRef) -> EndAccount;

    /// Starts a container that has stopped, with its files as they are, waits until it is ready by its labels, and freezes
    /// it if it shall be `frozen`. One that runs already counts as started. `None`: the engine answered that there is none.
    ///
    /// # Errors
    /// When it does not run now, or is not frozen, or not ready in time.
    async fn restart(&self, container: &ContainerRef, frozen: bool) -> Result<Option<Started>, RuntimeError>;

    /// Freezes the container. One that is frozen already counts as done.
    ///
    /// # Errors
    /// When it is not frozen now.
    async fn pause(&self, container: &ContainerRef) -> Result<(), RuntimeError>;

    /// Thaws the container. One that runs already counts as done.
    ///
    /// # Errors
    /// When it does not run now.
    async fn resume(&self, container: &ContainerRef) -> Result<(), RuntimeError>;

    /// Stops the container with the configured grace, kills it if it does not end, and removes it with its anonymous
    /// volumes. One that is gone already counts as done, and so does a foreign one under its name, which is left alone.
    ///
    /// # Errors
    /// When it is not confirmed gone.
    async fn remove(&self, container: &ContainerRef) -> Result<(), RuntimeError>;

    /// All containers that carry our labels (of this supervisor's prefix) or the reference system's, whatever they are
    /// doing. One whose labels name no valid sandbox id is left out.
    ///
    /// # Errors
    /// A listing that fails is an error, never a short list.
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError>;

    /// What happens to those containers, in the engine's order: with `since`, from that time on (inclusive) as far as
    /// the engine remembers; without, from the moment of the connection on, which is the first poll's. An idle stream
    /// stays open.
    ///
    /// An `Err`, or the end, means that it broke: the caller connects again with the last event's time, and sees that
    /// event once more. An engine forgets, and drops events without a word for one who reads too slowly, so that only a
    /// look at the containers closes a gap for certain.
    fn events(&self, since: Option<EpochSeconds>) -> BoxStream<'static, Result<ContainerEvent, RuntimeError>>;

    /// One cheap round trip: does the engine answer?
    ///
    /// # Errors
    /// When it does not.
    async fn check(&self) -> Result<(), RuntimeError>;
}
