//! Passes the engine's events to the actors ([design: events](crate::design::engine::events)). A stream that breaks is
//! resumed from the time of its last event, and a reconcile closes any gap.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::state::Keeper;
use crate::{
    actor::Until,
    domain::{EpochSeconds, Status, retry::Backoff, sandbox::Event},
    ports::runtime::{ContainerEvent, ContainerEventKind, ContainerRef},
};

const RECONNECT: Backoff = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(10) };

/// A container that is frozen for less than this, as by a small commit, does not count as paused.
const COMMIT: Duration = Duration::from_millis(500);

impl Keeper {
    /// Follows the engine's events until the supervisor stops.
    pub(super) async fn follow_events(self: Arc<Self>) {
        // Begins before the first reconcile, so that nothing is missed between the two.
        let mut since = self.shared.clock.now().wall();
        // Each round of `repeat` would begin with the same time.
        let follow = async {
            let mut failures = 0_u32;
            loop {
                let mut events = self.shared.runtime.events(Some(since));
                self.reconcile_now.notify_one();
                let problem = loop {
                    match events.next().await {
                        Some(Ok(event)) => {
                            failures = 0;
                            since = event.at;
                            self.clone().take_event(event);
                        }
                        Some(Err(error)) => break error.to_string(),
                        None => break "it ended".to_owned(),
                    }
                };
                failures = failures.saturating_add(1);
                if failures.is_power_of_two() {
                    warn!(problem, failures, "the engine's event stream broke; it is resumed");
                }
                sleep(RECONNECT.jittered_wait(failures)).await;
            }
        };
        let _: Option<()> = self.stop.run_until_cancelled(follow).await;
    }

    /// Passes an event to the actor of the container's sandbox, which compares the container's id.
    fn take_event(self: Arc<Self>, event: ContainerEvent) {
        debug!(?event, "the engine tells");
        let ContainerEvent { container, kind, at, stranger } = event;
        match kind {
            ContainerEventKind::Destroyed => {
                self.shared.registry.with_live(&container.sandbox, |handle| {
                    // No start reports a stranger's container.
                    if stranger.is_some() {
                        handle.news_of_record(container.container_id, Event::ContainerVanished);
                    } else {
                        handle.news(container.container_id, Event::ContainerVanished);
                    }
                });
            }
            ContainerEventKind::Paused | ContainerEventKind::Unpaused | ContainerEventKind::Died { .. } => {
                let keeper = self.clone();
                self.shared.io.spawn(async move {
                    let look = |_| keeper.follow_up(&container, kind, at);
                    keeper.shared.tasks.finish("look at what happened to a container", look).await;
                });
            }
            // Sandglass knows its own starts, and a start by hand follows an end, after which the container is inspected.
            ContainerEventKind::Started => {}
            // If it was not its first process, the container goes on, and nothing else tells of it.
            ContainerEventKind::OutOfMemory if stranger.is_none() => {
                warn!(sandbox_id = %container.sandbox, "the kernel killed a process in its container for memory");
            }
            ContainerEventKind::OutOfMemory => {}
        }
    }

    /// Inspects a container after an event: only that tells why it died, or whether it is frozen for longer than a commit
    /// takes. An engine that shuts down thaws what it stops.
    async fn follow_up(&self, container: &ContainerRef, kind: ContainerEventKind, at: EpochSeconds) {
        let died = matches!(kind, ContainerEventKind::Died { .. });
        if !died {
            sleep(COMMIT).await;
        }
        // A container stands still while a snapshot is taken of it, and is looked at afterwards.
        if !died && self.sandboxes.snapshots.includes(&container.sandbox) {
            return;
        }
        let Some(handle) = self.shared.registry.handle(&container.sandbox) else { return };
        // Its start may not have reported its container yet.
        let Ok(sandbox) = handle.wait(Until::Started).await else { return };
        // A removal ends the container, and a restart inspects it by itself.
        let is_up = sandbox.is_alive() && !sandbox.is_starting() && !sandbox.is_restarting();
        let is_its_own = sandbox.details.container_id.as_deref() == container.container_id.as_deref();
        let is_known = match kind {
            ContainerEventKind::Paused => sandbox.status() == Status::Paused,
            ContainerEventKind::Unpaused => sandbox.status() == Status::Running,
            _ => false,
        };
        // A late event may be about the end before its last start.
        let is_new = died && sandbox.details.started_at.is_none_or(|started_at| at >= started_at);
        if is_up && is_its_own && !is_known {
            self.inspect(&handle, &sandbox, is_new).await;
        }
    }
}
