//! The engine's events, into the actors (design, 6.6). The stream is resumed from the last event's time when it breaks,
//! and a reconcile closes whatever gap is left.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tracing::{debug, warn};

use super::requests::Supervisor;
use crate::{
    domain::{lifecycle::Event, retry::Backoff},
    ports::runtime::{ContainerEvent, ContainerEventKind},
};

const RECONNECT: Backoff = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(10) };

impl Supervisor {
    /// Follows the engine's events until the supervisor stops.
    pub(super) async fn follow_events(self: Arc<Self>) {
        // From before the first reconcile on, so that nothing falls between the two.
        let mut since = self.world.clock.now().wall();
        let mut failures = 0;
        loop {
            let mut events = self.world.runtime.events(Some(since));
            self.reconcile_now.notify_one();
            let problem = loop {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    event = events.next() => match event {
                        Some(Ok(event)) => {
                            failures = 0;
                            since = event.at;
                            self.clone().take_event(event);
                        }
                        Some(Err(error)) => break error.to_string(),
                        None => break "it ended".to_owned(),
                    },
                }
            };
            failures += 1;
            if u32::is_power_of_two(failures) {
                warn!(problem, failures, "the engine's event stream broke; it is resumed");
            }
            tokio::select! {
                () = tokio::time::sleep(RECONNECT.jittered_wait(failures)) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Hands an event to the actor of the container's sandbox. Which container it is, the actor compares itself.
    fn take_event(self: Arc<Self>, event: ContainerEvent) {
        debug!(?event, "the engine tells");
        let ContainerEvent { container, kind, copied, .. } = event;
        let news = match kind {
            ContainerEventKind::Paused => Event::ContainerPaused,
            ContainerEventKind::Unpaused => Event::ContainerUnpaused,
            ContainerEventKind::Destroyed => Event::ContainerVanished,
            ContainerEventKind::Died { .. } => {
                // Why it died, and whether somebody is removing it, only a look can tell.
                let supervisor = self.clone();
                self.world.io.spawn(async move {
                    let look = |_| async {
                        let Some(handle) = supervisor.world.registry.handle(&container.sandbox) else { return };
                        if let Ok(sandbox) = handle.look().await
                            && sandbox.details.container_id.as_deref() == container.container_id.as_deref()
                        {
                            supervisor.look_closer(&handle, &sandbox).await;
                        }
                    };
                    supervisor.world.tasks.finish("look at an exit", look).await;
                });
                return;
            }
            ContainerEventKind::Started | ContainerEventKind::OutOfMemory => return,
        };
        self.world.registry.with_live(&container.sandbox, |handle| {
            // A copy is never the one that a start is about to report.
            if copied {
                handle.news_of_record(container.container_id, news);
            } else {
                handle.news(container.container_id, news);
            }
        });
    }
}
