//! What sandboxes may reach: changed by requests, and compared with what is in force.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{sync::watch, time::timeout};
use tracing::warn;

use super::{directory::Sandboxes, health::RuntimeHealth};
use crate::{
    actor::{RequestError, SandboxHandle, Shared},
    domain::{
        Sandbox, SandboxId,
        egress::{Egress, Network, Ranges},
        sandbox::Event,
    },
    journal::StoreHealth,
    ports::{
        runtime::ContainerRef,
        walls::{Blocked, Walls, WallsError},
    },
};

/// How many sandboxes are asked at the same time.
const CHUNK: usize = 256;
/// How long an answer waits to be told what was blocked.
const BLOCKED_WITHIN: Duration = Duration::from_secs(2);

/// How long others wait until the walls are looked after.
const TENDED_WITHIN: Duration = Duration::from_secs(5);

const NOT_RECORDED: &str = "the rules are in force, but they are not recorded; repeat the request";

impl Sandboxes {
    /// Replaces the client's rules for what a sandbox may reach, as a whole. When this returns, they are in force and recorded.
    /// If it fails, the rules are as they were, or as the error says. If the caller drops this future, the change is made all the
    /// same. Does not count as use.
    ///
    /// # Errors
    /// [`RequestError`], also if the sandbox is on no isolated network.
    pub async fn set_egress(&self, id: &SandboxId, request: Ranges) -> Result<Sandbox, RequestError> {
        self.must_be_ready()?;
        let (shared, lock, store) = (self.shared.clone(), self.walls.clone(), self.health.watch_store());
        let changed = {
            let id = id.clone();
            self.shared.io.spawn(async move {
                let _alone = lock.lock().await;
                change(&shared, store, &id, request).await
            })
        };
        match changed.await.map_err(|error| RequestError::Internal(error.to_string()))? {
            Ok(sandbox) => Ok(sandbox),
            Err(Unchanged::Request(RequestError::Unanswered)) => Err(self.absent(id)),
            Err(Unchanged::Request(error)) => Err(error),
            Err(Unchanged::Walls(error)) => Err(match self.health.runtime() {
                RuntimeHealth::Down { error, .. } => RequestError::RuntimeUnavailable(error),
                _ => RequestError::RuntimeFailed(error.to_string()),
            }),
        }
    }

    /// What a sandbox tried to reach in vain; `None` if it has no walls, or that is not known.
    pub async fn blocked(&self, sandbox: &Sandbox) -> Option<Blocked> {
        if !sandbox.has_walls() || !sandbox.is_alive() || sandbox.details.container_id.is_none() {
            return None;
        }
        let container = ContainerRef::of(sandbox);
        let blocked = self.shared.runtime.walls()?.blocked(&container);
        timeout(BLOCKED_WITHIN, blocked).await.ok()?.ok()
    }

    /// What is not blocked although it is to be, in one sentence; `None` if nothing is left open.
    pub fn gap_in_walls(&self) -> Option<String> {
        let wants_walls = |network: &Network| matches!(network, Network::Isolated | Network::Internal);
        if !self.settings.templates.values().any(|template| wants_walls(&template.start.network)) {
            return None;
        }
        match self.shared.runtime.walls() {
            Some(walls) => walls.gap(),
            None => Some(no_walls().to_string()),
        }
    }

    /// Compares the rules that are in force with those of all sandboxes, and mends them.
    pub(crate) async fn tend_walls(&self) {
        let Some(walls) = self.shared.runtime.walls() else { return };
        // A change that came between would be taken back.
        let _alone = self.walls.lock().await;
        let mut handles = Vec::new();
        self.shared.registry.each_live(|handle| handles.push(handle.clone()));
        let mut expected = HashMap::new();
        for chunk in handles.chunks(CHUNK) {
            let sandboxes = join_all(chunk.iter().map(SandboxHandle::snapshot)).await;
            // While its container is being removed, it still runs.
            let walled = sandboxes.into_iter().flatten().filter(|sandbox| sandbox.has_walls() && !sandbox.is_gone());
            expected.extend(
                walled.filter_map(|sandbox| {
                    Some((sandbox.details.container_id.as_deref()?.to_owned(), sandbox.egress()))
                }),
            );
        }
        let count = expected.len();
        // It goes on where it takes longer; ends and lost containers do not wait for it.
        let tended = timeout(TENDED_WITHIN, walls.tend(expected)).await;
        let told = tended.unwrap_or_else(|_| Err(WallsError::Failed(format!("it takes more than {TENDED_WITHIN:?}"))));
        if let Err(error) = told
            && count > 0
        {
            warn!(%error, sandboxes = count, "it is not known that all walls of sandboxes are in place");
        }
    }
}

/// Why rules were not changed.
enum Unchanged {
    Request(RequestError),
    Walls(WallsError),
}

/// Changes the rules first and the record then, so that a request that failed has changed nothing. A crash in between leaves a
/// request that was not answered, and the record decides.
async fn change(
    shared: &Arc<Shared>,
    mut store: watch::Receiver<StoreHealth>,
    id: &SandboxId,
    request: Ranges,
) -> Result<Sandbox, Unchanged> {
    if let StoreHealth::Down { error, .. } = &*store.borrow_and_update() {
        return Err(Unchanged::Request(RequestError::StoreUnavailable(error.clone())));
    }
    let handle = shared.registry.handle(id).ok_or(Unchanged::Request(RequestError::Unanswered))?;
    let before = handle.snapshot().await.map_err(Unchanged::Request)?;
    before.may_change_egress().map_err(|denied| Unchanged::Request(RequestError::denied(id, denied)))?;
    let walls = shared.runtime.walls().ok_or_else(|| Unchanged::Walls(no_walls()))?;
    let (container, old) = (ContainerRef::of(&before), before.egress());
    let new = Egress { request: request.clone(), ..old.clone() };
    if let Err(error) = walls.set(&container, &new).await {
        if matches!(error, WallsError::Failed(_)) {
            take_back(walls, &container, &old).await;
        }
        return Err(Unchanged::Walls(error));
    }
    match handle.ask(Event::Egress(Box::new(request))).await {
        // While the store is down, the record is in memory only, and would be lost in a crash.
        Ok(_) if store.has_changed().unwrap_or(true) || !store.borrow().is_up() => {
            Err(Unchanged::Request(RequestError::StoreUnavailable(NOT_RECORDED.to_owned())))
        }
        Ok(after) => Ok(after),
        Err(error) => {
            take_back(walls, &container, &old).await;
            Err(Unchanged::Request(error))
        }
    }
}

/// Sets the rules of before again. If that fails, too, the next comparison does it.
async fn take_back(walls: &dyn Walls, container: &ContainerRef, old: &Egress) {
    if let Err(error) = walls.set(container, old).await {
        warn!(sandbox_id = %container.sandbox, %error, "a change of its rules is taken back by the next comparison only");
    }
}

fn no_walls() -> WallsError {
    WallsError::Unable("this engine has no isolated networks".to_owned())
}
