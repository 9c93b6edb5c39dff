//! Watches whether the container engine answers.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    actor::Shared,
    domain::sandbox::Event,
    loops::repeat,
    sandboxes::{Health, RuntimeHealth},
};

const CHECK_EVERY: Duration = Duration::from_secs(5);
const CHECK_WHILE_DOWN: Duration = Duration::from_secs(1);

/// Retries everything that waits for the engine as soon as the engine is back. A task that died may have missed that, so its
/// successor begins with a retry.
pub(super) async fn retry_when_back(shared: Arc<Shared>, health: Arc<Health>, stop: CancellationToken, deaths: u32) {
    if deaths > 0 {
        shared.registry.each_live(|handle| handle.tell(Event::EngineBack));
    }
    let mut health = health.runtime_sender().subscribe();
    let recoveries = async {
        loop {
            health.wait_for(RuntimeHealth::is_down).await?;
            health.wait_for(|health| *health == RuntimeHealth::Up).await?;
            shared.registry.each_live(|handle| handle.tell(Event::EngineBack));
        }
    };
    let _: Option<Result<(), watch::error::RecvError>> = stop.run_until_cancelled(recoveries).await;
}

/// Checks at intervals that the engine answers, until `stop`.
pub(super) async fn watch_runtime(shared: Arc<Shared>, health: Arc<Health>, stop: CancellationToken) {
    let health = health.runtime_sender();
    repeat(&stop, Duration::ZERO, None, || async {
        let answer = shared.runtime.check().await;
        if answer.is_err() {
            shared.runtime_away.note(shared.clock.now().moment);
        }
        health.send_if_modified(|health| match answer {
            Ok(()) if *health == RuntimeHealth::Up => false,
            Ok(()) => {
                if health.is_down() {
                    info!("the container engine answers again");
                }
                *health = RuntimeHealth::Up;
                true
            }
            Err(error) => {
                let error = error.to_string();
                let since = match health {
                    RuntimeHealth::Down { since, .. } => *since,
                    _ => {
                        warn!(%error, "the container engine does not answer; pings and deadlines go on, ends wait");
                        shared.clock.now().wall()
                    }
                };
                *health = RuntimeHealth::Down { since, error };
                true
            }
        });
        if health.borrow().is_down() { CHECK_WHILE_DOWN } else { CHECK_EVERY }
    })
    .await;
}
