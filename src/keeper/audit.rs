//! Checks that the store still has what it was given ([design: lost data](crate::design::persistence::lost_data)). Deleted
//! or evicted records are written again, and settings of the store that may lose more are reported.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::{error, warn};

use super::state::Keeper;
use crate::{
    domain::{SandboxId, sandbox::Event},
    loops::repeat,
    ports::store::StoreError,
};

/// How many records are asked for in one round trip.
const CHUNK: usize = 1_000;

impl Keeper {
    /// Asks for the record of each living sandbox once per `docker.reconcile_interval`, spread over that time, until the
    /// supervisor stops.
    pub(super) async fn audit_regularly(self: Arc<Self>) {
        repeat(&self.stop, Duration::ZERO, None, || async {
            self.look_for_hazards().await;
            let ids = self.shared.registry.ids_after(None, false);
            let chunks = u32::try_from(ids.len().div_ceil(CHUNK)).unwrap_or(u32::MAX).max(1);
            let pause = self.settings.sandboxes.reconcile_interval / chunks;
            for chunk in ids.chunks(CHUNK) {
                sleep(pause).await;
                self.audit(chunk).await;
            }
            if ids.is_empty() { pause } else { Duration::ZERO }
        })
        .await;
    }

    /// Has missing records written again. The actor of a sandbox that has ended meanwhile writes none.
    async fn audit(&self, ids: &[SandboxId]) {
        let twice = async {
            let lost = self.store.missing(ids).await?;
            // The first look may have come before a new sandbox was written.
            if lost.is_empty() { Ok(lost) } else { self.store.missing(&lost).await }
        };
        match twice.await {
            Ok(lost) => {
                for id in &lost {
                    self.shared.registry.with_live(id, |handle| handle.tell(Event::RecordLost));
                }
            }
            Err(StoreError::Unavailable(error)) => {
                warn!(%error, "the store cannot be asked for its records yet");
                self.shared.journal.report_answer(Err(&error));
            }
            // The journal finds that out, too, and stops.
            Err(StoreError::Held { .. }) => {}
        }
    }

    /// Reports settings of the store that may lose records, as long as they do.
    pub(super) async fn look_for_hazards(&self) {
        let Ok(hazards) = self.store.hazards().await else { return };
        self.sandboxes.health().hazards_sender().send_if_modified(|known| {
            let news = *known != hazards;
            if news {
                for hazard in hazards.iter().filter(|hazard| !known.contains(hazard)) {
                    error!(hazard, "the store may lose records");
                }
                *known = hazards;
            }
            news
        });
    }
}
