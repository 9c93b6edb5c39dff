//! Snapshots: taken of sandboxes, listed, and removed. The engine keeps them, so the store knows nothing of them.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tracing::warn;

use super::{
    create::Created,
    directory::Sandboxes,
    health::RuntimeHealth,
    plan::{Create, bounded},
    unheard::Unheard,
};
use crate::{
    actor::{RequestError, Shared},
    domain::{
        ActivitySource, ID_RULE, Sandbox, SandboxId, Status,
        record::UserId,
        sandbox::{Container, RuleClock},
        snapshot::{Snapshot, SnapshotId, is_valid_name},
    },
    ports::{
        runtime::{ContainerRef, RuntimeError},
        snapshots::Snapshots,
    },
};

/// How many sandboxes one fork can make.
pub const MOST_FORKS: usize = 100;

/// A request for a snapshot.
#[derive(Clone, Debug, Default)]
pub struct SnapshotRequest {
    /// What to call it.
    pub name: Option<String>,
    /// Whether it is removed as soon as the sandboxes that are made from it are gone.
    pub passing: bool,
}

impl Sandboxes {
    /// Takes a snapshot of a sandbox's files, and waits until it exists. Counts as use. The container stands still meanwhile,
    /// and work in it waits. If the caller drops this future, the snapshot is taken all the same.
    ///
    /// # Errors
    /// [`RequestError`], also if the sandbox does not run or the name breaks a rule.
    pub async fn take_snapshot(&self, id: &SandboxId, request: SnapshotRequest) -> Result<Snapshot, RequestError> {
        self.must_be_ready()?;
        self.check_name(request.name.as_deref())?;
        let sandbox = self.touch(id, ActivitySource::Snapshot).await?;
        if !matches!(sandbox.status(), Status::Running | Status::Paused) {
            let rule = "only of a sandbox that runs or is paused can a snapshot be taken";
            return Err(RequestError::WrongState { id: id.clone(), status: sandbox.status(), rule });
        }
        let most = self.settings.sandboxes.max_snapshots;
        if self.snapshots().await?.len() >= most {
            let rule = format!("there are {most} snapshots (docker.max_snapshots): remove one first");
            return Err(RequestError::LimitReached(rule));
        }
        let container = ContainerRef::of(&sandbox);
        let found = self.shared.runtime.inspect(&container).await.map_err(|error| self.of_engine(error))?;
        let snapshot = Snapshot {
            id: SnapshotId::generate(),
            name: request.name,
            sandbox: id.clone(),
            template: sandbox.details.template.as_deref().map(Into::into),
            asked: found.map(|found| found.labels.asked).unwrap_or_default(),
            created_at: self.now().wall(),
            passing: request.passing,
        };
        let taking = loop {
            self.snapshots.over(id).await;
            if let Some(taking) = self.snapshots.begin(id) {
                break taking;
            }
        };
        let shared = self.shared.clone();
        let taken = self.shared.io.spawn(async move {
            let taken = match shared.runtime.snapshots() {
                Some(snapshots) => snapshots.take(&container, &snapshot).await,
                None => Err(no_snapshots()),
            };
            settle(&shared, &container).await;
            drop(taking);
            taken.map(|()| snapshot)
        });
        let taken = taken.await.map_err(|error| RequestError::Internal(error.to_string()))?;
        taken.map_err(|error| self.of_engine(error))
    }

    /// Makes `count` sandboxes, at most [`MOST_FORKS`], of the files that a sandbox has now. They have its template, its
    /// metadata, its rules, and the limits and ports that were asked for, with another active timeout if one is given. Counts as use of the sandbox.
    ///
    /// # Errors
    /// [`RequestError`] if nothing was made; each of the others may fail by itself.
    ///
    /// If the caller drops this future, the sandboxes that were made end, unless they are used.
    pub async fn fork(
        &self,
        id: &SandboxId,
        count: usize,
        timeout: Option<Duration>,
    ) -> Result<Vec<Result<Sandbox, RequestError>>, RequestError> {
        if count == 0 || count > MOST_FORKS {
            return Err(RequestError::invalid("count", format!("1 to {MOST_FORKS}, not {count}")));
        }
        let timeout = timeout.map(|timeout| bounded("timeout", timeout, &self.settings)).transpose()?;
        let snapshot = self.take_snapshot(id, SnapshotRequest { name: None, passing: true }).await?;
        let made = match self.get(id).await {
            Ok(sandbox) => {
                let create = like(&sandbox, &snapshot, timeout);
                // Some places for creates are left to others.
                let at_once = (self.settings.sandboxes.max_creates / 2).max(1);
                let forks = stream::iter(0..count).map(|_| self.create_unheard(create.clone(), true));
                Ok(forks.buffered(at_once).collect::<Vec<_>>().await)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = self.remove_snapshot(&snapshot.id).await {
            warn!(sandbox_id = %id, snapshot = %snapshot.id, %error, "the snapshot of a fork stays for an hour");
        }
        let hear = |(created, unheard): (Created, Option<Unheard<'_>>)| {
            if let Some(unheard) = unheard {
                unheard.heard();
            }
            created.into_sandbox()
        };
        Ok(made?.into_iter().map(|fork| fork.map(hear)).collect())
    }

    /// Lists the snapshots, the newest first.
    ///
    /// # Errors
    /// [`RequestError`] if the engine does not tell.
    pub async fn snapshots(&self) -> Result<Vec<Snapshot>, RequestError> {
        let listed = self.snapshots_port()?.all().await;
        let mut snapshots = listed.map_err(|error| self.of_engine(error))?;
        snapshots.sort_by(|one, other| other.created_at.total_cmp(&one.created_at).then_with(|| one.id.cmp(&other.id)));
        Ok(snapshots)
    }

    /// Finds the snapshot that a client calls `text`: by its identifier, or else the newest of that name.
    ///
    /// # Errors
    /// [`RequestError`] if the engine does not tell.
    pub async fn find_snapshot(&self, text: &str) -> Result<Option<Snapshot>, RequestError> {
        // Nothing else can be the name of one, and most requests name templates.
        if !is_valid_name(text) {
            return Ok(None);
        }
        Ok(self.snapshots().await?.into_iter().find(|snapshot| snapshot.is_called(text)))
    }

    /// Removes a snapshot; false if there is none. Sandboxes that were made from it go on.
    ///
    /// # Errors
    /// [`RequestError`] if it is not confirmed to be removed.
    pub async fn remove_snapshot(&self, id: &SnapshotId) -> Result<bool, RequestError> {
        let removed = self.snapshots_port()?.discard(id).await;
        removed.map_err(|error| self.of_engine(error))
    }

    /// Waits while the container of a sandbox stands still for a snapshot.
    pub(super) async fn is_not_being_copied(&self, id: &SandboxId) {
        self.snapshots.over(id).await;
    }

    fn check_name(&self, name: Option<&str>) -> Result<(), RequestError> {
        let Some(name) = name else { return Ok(()) };
        if !is_valid_name(name) {
            return Err(RequestError::invalid("name", format!("{ID_RULE}, not {name:?}")));
        }
        if self.settings.templates.contains_key(name) {
            return Err(RequestError::invalid("name", format!("{name:?} is the name of a template")));
        }
        if SnapshotId::parse(name).is_some() {
            return Err(RequestError::invalid("name", format!("{name:?} could be the id of a snapshot")));
        }
        Ok(())
    }

    fn snapshots_port(&self) -> Result<&dyn Snapshots, RequestError> {
        self.shared.runtime.snapshots().ok_or_else(|| self.of_engine(no_snapshots()))
    }

    fn of_engine(&self, error: RuntimeError) -> RequestError {
        match error {
            RuntimeError::Unreachable(problem) => RequestError::RuntimeUnavailable(problem),
            error => match self.health.runtime() {
                RuntimeHealth::Down { error, .. } => RequestError::RuntimeUnavailable(error),
                _ => RequestError::RuntimeFailed(error.to_string()),
            },
        }
    }
}

/// A request for a sandbox like this one, with the files of `snapshot`.
fn like(sandbox: &Sandbox, snapshot: &Snapshot, timeout: Option<Duration>) -> Create {
    let (details, rules) = (&sandbox.details, sandbox.rules());
    Create {
        template: snapshot.template.clone(),
        snapshot: Some(snapshot.clone()),
        timeout: Some(timeout.unwrap_or(rules.active_timeout())),
        on_timeout: Some(rules.on_timeout()),
        idle_timeout: rules.after(RuleClock::Idle).map(Some),
        without_default_idle: rules.after(RuleClock::Idle).is_none(),
        egress: Some(sandbox.egress().request),
        wake: details.wake,
        public_traffic: details.public_traffic,
        mask_request_host: details.mask_request_host.as_deref().map(Into::into),
        metadata: details.metadata.clone(),
        user_id: details.user_id.clone().map(UserId),
        user_name: details.user_name.as_deref().map(Into::into),
        ..Create::default()
    }
}

fn no_snapshots() -> RuntimeError {
    RuntimeError::Failed("this engine takes no snapshots".to_owned())
}

/// Makes the container what its sandbox is. An engine thaws a container after it has copied it, also one that became paused
/// meanwhile, and may leave it frozen when it fails.
async fn settle(shared: &Shared, container: &ContainerRef) {
    let Some(snapshot) = shared.registry.with_live(&container.sandbox, |handle| handle.snapshot()) else { return };
    let Ok(sandbox) = snapshot.await else { return };
    let Ok(Some(found)) = shared.runtime.inspect(container).await else { return };
    let settled = match (sandbox.status(), found.state) {
        (Status::Paused, Container::Running) => shared.runtime.pause(container).await,
        (Status::Running, Container::Paused) => shared.runtime.resume(container).await,
        _ => Ok(()),
    };
    if let Err(error) = settled {
        warn!(sandbox_id = %container.sandbox, %error, "its container is not as it was before a snapshot; the next comparison sees it");
    }
}
