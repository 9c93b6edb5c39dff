//! Compares sandboxes with the engine: at start, after each reconnect, and at intervals
//! ([design: comparison](crate::design::engine::comparison)). If listing fails, nothing is concluded. Before anything is
//! ended, exactly that container is inspected.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tracing::{error, info, warn};

use super::{adopt::LostRecord, state::Keeper, strangers::Sighting};
use crate::{
    actor::{Entry, SandboxHandle},
    domain::{
        Now, Sandbox, Status,
        sandbox::{Container, Event},
    },
    loops::repeat,
    ports::runtime::{ContainerRef, Inspected, Listed, Owner, Stranger},
};

/// How many sandboxes are asked at the same time.
const CHUNK: usize = 256;

impl Keeper {
    /// Reconciles whenever it is asked to, and `reconcile_interval` after the last time, until the supervisor stops.
    pub(super) async fn reconcile_regularly(self: Arc<Self>) {
        repeat(&self.stop, Duration::ZERO, Some(&self.reconcile_now), || async {
            self.reconcile().await;
            self.settings.sandboxes.reconcile_interval
        })
        .await;
    }

    /// Compares once.
    pub(super) async fn reconcile(&self) {
        self.sandboxes.tend_walls().await;
        let began = self.shared.clock.now();
        let listed = match self.shared.runtime.list().await {
            Ok(listed) => listed,
            Err(error) => {
                warn!(%error, "containers cannot be listed; nothing is concluded from that");
                return;
            }
        };
        let by_id: HashMap<_, _> =
            listed.iter().filter_map(|listed| Some((listed.container.container_id.as_deref()?, listed))).collect();
        let mut handles = Vec::new();
        self.shared.registry.each_live(|handle| handles.push(handle.clone()));
        for chunk in handles.chunks(CHUNK) {
            join_all(chunk.iter().map(|handle| self.compare(handle, &by_id, &began))).await;
        }
        let mut strangers = Sighting::default();
        for listed in &listed {
            if let Some(why) = self.account_for(listed, &began).await {
                strangers.add(listed, why);
            }
        }
        self.sandboxes.health().saw_foreign(self.strangers.see(strangers));
        self.tend_snapshots().await;
    }

    /// Inspects a sandbox's container if the listing shows it in another state than the sandbox.
    async fn compare(&self, handle: &SandboxHandle, listed: &HashMap<&str, &Listed>, began: &Now) {
        let Ok(sandbox) = handle.snapshot().await else { return };
        let status = sandbox.status();
        let under_way = sandbox.is_pausing_or_resuming() || sandbox.is_restarting();
        let settled = matches!(status, Status::Running | Status::Paused) && !under_way;
        let settled = settled && !self.sandboxes.snapshots.includes(sandbox.id());
        // The listing does not know a later start.
        let older = sandbox.details.started_at.is_none_or(|at| at < began.wall());
        if !settled || !older {
            return;
        }
        let found = sandbox.details.container_id.as_deref().and_then(|id| listed.get(id));
        let is_there = |listed: &&&Listed| {
            listed.ports.len() == sandbox.details.ports.iter().count()
                && sandbox.details.ports.iter().all(|(port, at)| listed.ports.get(port).is_some_and(|it| **it == **at))
        };
        match (found.filter(is_there).map(|listed| listed.state), status) {
            (Some(Container::Running), Status::Running) | (Some(Container::Paused), Status::Paused) => {}
            _ => self.inspect(handle, &sandbox, false).await,
        }
    }

    /// Inspects exactly this sandbox's container, and tells its actor. With `died`, an end was reported, so that a container
    /// that runs was restarted.
    pub(super) async fn inspect(&self, handle: &SandboxHandle, sandbox: &Sandbox, died: bool) {
        let container = ContainerRef::of(sandbox);
        let Some(found) = self.inspected(sandbox, &container).await else {
            // An engine that reported an end and no longer answers is shutting down.
            if died {
                handle.news(container.container_id, Event::ContainerInterrupted);
            }
            return;
        };
        let Some(Inspected { state: Container::Stopped(_), .. }) = found else {
            Self::tell(handle, container, found, died);
            return;
        };
        let account = self.shared.runtime.account_of_end(&container).await;
        match self.inspected(sandbox, &container).await {
            Some(Some(Inspected { state: Container::Stopped(code), oom_killed, .. })) if account.stayed_up => {
                let oom_killed = oom_killed || account.out_of_memory;
                let last_output = account.last_output.map(Into::into);
                handle.news(container.container_id, Event::ContainerExited { code, oom_killed, last_output });
            }
            // Where the cause is unknown, the sandbox goes on.
            None | Some(Some(Inspected { state: Container::Stopped(_), .. })) => {
                handle.news(container.container_id, Event::ContainerInterrupted);
            }
            Some(found) => Self::tell(handle, container, found, true),
        }
    }

    /// The outer `None` means that the engine did not answer.
    async fn inspected(&self, sandbox: &Sandbox, container: &ContainerRef) -> Option<Option<Inspected>> {
        let outcome = self.shared.runtime.inspect(container).await;
        outcome.inspect_err(|error| warn!(sandbox_id = %sandbox.id(), %error, "its container cannot be looked at")).ok()
    }

    /// Tells the actor about a container that has not stopped.
    fn tell(handle: &SandboxHandle, container: ContainerRef, found: Option<Inspected>, restarted: bool) {
        let container_id = container.container_id;
        let Some(found) = found.filter(|found| found.state != Container::Missing) else {
            handle.news(container_id, Event::ContainerMissing);
            return;
        };
        let at = Box::new(found.started);
        if restarted && found.state == Container::Running {
            handle.news(container_id, Event::ContainerRestarted(at));
            return;
        }
        let event = match found.state {
            Container::Paused => Event::ContainerPaused,
            _ => Event::ContainerUnpaused,
        };
        handle.news(container_id.clone(), event);
        handle.news(container_id, Event::ContainerFound(at));
    }

    /// Deals with a container that has no sandbox. Ours are those that a record names by id, and those with our labels;
    /// returns why any other one is left alone.
    async fn account_for(&self, listed: &Listed, began: &Now) -> Option<Stranger> {
        // A container of the reference system's is ours only through a record.
        if listed.container.owner != Owner::Sandglass {
            return None;
        }
        let is_of =
            |sandbox: &Sandbox| sandbox.details.container_id.as_deref() == listed.container.container_id.as_deref();
        let strange = listed.stranger;
        let id = &listed.container.sandbox;
        let age = began.wall() - listed.created_at;
        let of_age = age > self.settings.sandboxes.orphan_grace.as_secs_f64();
        match self.shared.registry.get(id, began.moment) {
            Some(Entry::Live(handle)) => {
                let Ok(sandbox) = handle.snapshot().await else { return None };
                if is_of(&sandbox) {
                    return None;
                }
                // While it starts or ends, its actor deals with all containers that carry its labels.
                let known = sandbox.details.container_id.is_some();
                let settled = matches!(sandbox.status(), Status::Running | Status::Paused);
                if of_age && settled && known && strange.is_none() {
                    self.remove_left_over(listed, "it belongs to an earlier sandbox of the same id").await;
                }
                strange
            }
            Some(Entry::Ended(tombstone)) if strange.is_none() || is_of(&tombstone.sandbox) => {
                self.remove_left_over(listed, "its sandbox has ended").await;
                None
            }
            None if of_age && strange.is_none() => {
                self.adopt_orphan(listed).await;
                None
            }
            Some(Entry::Ended(_)) | None => strange,
        }
    }

    async fn remove_left_over(&self, listed: &Listed, why: &str) {
        let (sandbox_id, container_id) = (&listed.container.sandbox, listed.container.container_id.as_deref());
        error!(%sandbox_id, container_id, why, "a container was left over; it is removed");
        if let Err(error) = self.shared.runtime.remove(&listed.container).await {
            warn!(%sandbox_id, %error, "it could not be removed yet; the next reconcile tries again");
        }
    }

    /// Adopts a container of ours that has no sandbox. If its time is over by its labels, it ends as `orphaned`.
    async fn adopt_orphan(&self, listed: &Listed) {
        let sandbox_id = &listed.container.sandbox;
        match self.shared.runtime.inspect(&listed.container).await {
            Ok(Some(found)) => {
                let (now, legacy_ttl) = (self.shared.clock.now(), self.settings.lifecycle.legacy_ttl.as_secs_f64());
                let record = LostRecord::orphan(sandbox_id.clone(), listed.created_at, now, &found, legacy_ttl);
                if record.forsaken {
                    info!(%sandbox_id, "a container without a sandbox is past its time; it is removed");
                } else {
                    warn!(%sandbox_id, "a container without a sandbox is adopted by its labels");
                }
                let fallbacks = self.fallbacks(now);
                let (sandbox, effects) = self.adopt(&record, &Owner::Sandglass, found, &fallbacks);
                self.spawn_adopted(sandbox, effects);
            }
            Ok(None) => {}
            Err(error) => warn!(%sandbox_id, %error, "a container without a sandbox cannot be looked at yet"),
        }
    }
}
