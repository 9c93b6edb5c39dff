//! [`Work`]: what is asked of sandboxes from the inside, and the checks before it.

use std::sync::Arc;

use dashmap::DashSet;
use futures_util::stream::BoxStream;
use tokio::task::JoinHandle;

use super::{
    disks::{Disk, Disks},
    error::WorkError,
    lines::{Line, Lines, MOST_CALLS},
    meter::Meter,
};
use crate::{
    domain::{ActivitySource, Sandbox, SandboxId, sandbox},
    ports::{
        inside::{Inside, InsideError, Load, Output, OutputQuery},
        runtime::ContainerRef,
    },
    sandboxes::{Filter, RequestError, Sandboxes, ServingPhase},
};

/// How many sandboxes are looked at in one step.
const PAGE: usize = 1000;

/// Work in sandboxes. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Work {
    shared: Arc<Shared>,
}

struct Shared {
    sandboxes: Arc<Sandboxes>,
    lines: Lines,
    /// The commands whose ends are waited for.
    followed: DashSet<(SandboxId, Box<str>)>,
    disks: Disks,
}

impl Work {
    /// Work in `sandboxes`; no connection is open yet.
    pub fn new(sandboxes: Arc<Sandboxes>) -> Self {
        let lines = Lines::new(sandboxes.shared.io.clone());
        Self { shared: Arc::new(Shared { sandboxes, lines, followed: DashSet::new(), disks: Disks::default() }) }
    }

    pub(super) fn sandboxes(&self) -> &Sandboxes {
        &self.shared.sandboxes
    }

    /// In how many sandboxes somebody works just now, or did within the last minute.
    pub fn in_use(&self) -> usize {
        self.shared.lines.len()
    }

    /// After a restart of Sandglass, goes on waiting for the ends of the commands that hold sandboxes.
    pub async fn resume_all(&self) {
        let mut after = None;
        loop {
            let page = self.sandboxes().list(&Filter::default(), after.as_ref(), PAGE).await;
            for sandbox in &page.sandboxes {
                for command in sandbox.details.holds.iter().filter_map(sandbox::Hold::command) {
                    self.follow(sandbox.id().clone(), command.into());
                }
            }
            after = page.next;
            if after.is_none() {
                return;
            }
        }
    }

    /// Streams what the container of a sandbox has written. A read, so no use.
    ///
    /// # Errors
    /// [`WorkError`]; of a sandbox that has ended, only its last output is kept, on the tombstone.
    pub async fn output(
        &self,
        id: &SandboxId,
        query: OutputQuery,
    ) -> Result<BoxStream<'static, Result<Output, InsideError>>, WorkError> {
        let sandbox = self.alive(id).await?;
        Ok(self.inside()?.output(&ContainerRef::of(&sandbox), query).await?)
    }

    /// Measures what the container of a sandbox uses. A read, so no use.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn load(&self, id: &SandboxId) -> Result<Load, WorkError> {
        let sandbox = self.alive(id).await?;
        Ok(self.inside()?.load(&ContainerRef::of(&sandbox)).await?)
    }

    async fn alive(&self, id: &SandboxId) -> Result<Sandbox, WorkError> {
        let sandbox = self.sandboxes().get(id).await?;
        if sandbox.is_gone() {
            return Err(RequestError::Gone(Arc::new(sandbox)).into());
        }
        Ok(sandbox)
    }

    fn inside(&self) -> Result<&dyn Inside, WorkError> {
        let inside = self.sandboxes().shared.runtime.inside();
        inside.ok_or_else(|| InsideError::NoAgent("this engine has no way into its containers".to_owned()).into())
    }

    /// Counts as use, if the sandbox can be worked in, and connects to its agent.
    pub(super) async fn enter(&self, id: &SandboxId, work: &sandbox::Work) -> Result<Line, WorkError> {
        let sandbox = self.sandboxes().work(id, work).await?;
        self.line(&sandbox).await
    }

    /// Work that needs no hold.
    pub(super) async fn enter_for(&self, id: &SandboxId, source: ActivitySource) -> Result<Line, WorkError> {
        self.enter(id, &sandbox::Work { source, hold: None }).await
    }

    /// Connects to the agent of a sandbox without using the sandbox.
    pub(super) async fn look_inside(&self, id: &SandboxId) -> Result<Line, WorkError> {
        let sandbox = self.alive(id).await?;
        self.line(&sandbox).await
    }

    /// The same for Sandglass's own sake, however many calls are under way.
    pub(super) async fn always_look_inside(&self, id: &SandboxId) -> Result<Line, WorkError> {
        let sandbox = self.alive(id).await?;
        self.line_among(&sandbox, usize::MAX).await
    }

    pub(super) async fn line(&self, sandbox: &Sandbox) -> Result<Line, WorkError> {
        self.line_among(sandbox, MOST_CALLS).await
    }

    async fn line_among(&self, sandbox: &Sandbox, most: usize) -> Result<Line, WorkError> {
        let opened = self.shared.lines.get(&self.shared.sandboxes, &ContainerRef::of(sandbox), most).await;
        match opened {
            Err(error) => Err(self.explained(sandbox.id(), error).await),
            opened => opened,
        }
    }

    /// What clients are told of an error: that the sandbox is ending or has ended, or Sandglass stops, if that is the cause.
    pub(super) async fn explained(&self, id: &SandboxId, error: WorkError) -> WorkError {
        if !matches!(
            error,
            WorkError::Broken(..) | WorkError::PortFailed(..) | WorkError::Inside(InsideError::NotRunning(_))
        ) {
            return error;
        }
        if *self.sandboxes().health().watch_phase().borrow() == ServingPhase::Stopping {
            // Its connections are closed with the rest.
            return RequestError::Stopping.into();
        }
        match self.sandboxes().get(id).await {
            Ok(now) if now.is_gone() => RequestError::Gone(Arc::new(now)).into(),
            Ok(now) => match now.end() {
                Some(end) => RequestError::Terminating { id: id.clone(), reason: end.reason }.into(),
                None => error,
            },
            Err(gone) => gone.into(),
        }
    }

    /// Whether nothing can run in a sandbox any more.
    pub(super) async fn is_over(&self, id: &SandboxId) -> bool {
        self.sandboxes().get(id).await.is_ok_and(|sandbox| !sandbox.is_alive())
    }

    /// Counts as use what moves in or out of a sandbox.
    pub(super) fn meter(&self, sandbox: &SandboxId, source: ActivitySource) -> Meter {
        Meter::new(self.shared.sandboxes.clone(), sandbox.clone(), source)
    }

    pub(super) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.sandboxes().shared.io.spawn(task)
    }

    /// How full the disk of a sandbox was when that was last asked; `None` if it was not since Sandglass began.
    pub fn last_known_disk(&self, id: &SandboxId) -> Option<Disk> {
        self.shared.disks.get(id)
    }

    pub(super) fn note_disk(&self, id: &SandboxId, disk: Disk) {
        let registry = &self.sandboxes().shared.registry;
        self.shared.disks.note(id, disk, |id| registry.with_live(id, |_| ()).is_some());
    }

    pub(super) fn begin_following(&self, sandbox: &SandboxId, command: &str) -> bool {
        self.shared.followed.insert((sandbox.clone(), command.into()))
    }

    pub(super) fn stop_following(&self, sandbox: &SandboxId, command: &str) {
        self.shared.followed.remove(&(sandbox.clone(), command.into()));
    }
}
