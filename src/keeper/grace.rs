//! The grace after a restart, across restarts: it is granted once, and used up by the time in which somebody could ping.
//!
//! Each start grants it, since nobody could ping meanwhile. A process that is killed every few seconds would grant it for
//! ever, and nothing that is overdue would ever end. So each run notes in the store how much of it has gone by, and the next
//! one grants what is left. A run that outlives it removes the note.

use std::{future::pending, sync::Arc, time::Duration};

use tracing::debug;

use super::state::Keeper;
use crate::{domain::Moment, loops::repeat};

/// How often the note is written. It is written ahead: a run that is killed before its first note's time is up has used up
/// as much, so that even one that never lives for a second ends.
const STEP: Duration = Duration::from_secs(1);

impl Keeper {
    /// Notes, from now until the moment `over`, how much of the grace is used up beside what was before, and then that a run
    /// has outlived it.
    pub(super) fn spend_grace(self: &Arc<Self>, spent_before: Duration, over: Moment) {
        let (keeper, began) = (self.clone(), self.shared.clock.now().moment);
        self.shared.tasks.keep("grace", &self.stop, move |_| keeper.clone().note_grace(began, spent_before, over));
    }

    async fn note_grace(self: Arc<Self>, began: Moment, spent_before: Duration, over: Moment) {
        repeat(&self.stop, Duration::ZERO, None, || async {
            let now = self.shared.clock.now().moment;
            let outlived = now >= over;
            let spent = spent_before.saturating_add(now.since(began)).saturating_add(STEP);
            match self.store.spend_grace(if outlived { Duration::ZERO } else { spent }).await {
                // Nothing is left to note.
                Ok(()) if outlived => pending().await,
                Ok(()) => STEP.min(over.since(now)),
                Err(error) => {
                    // The next note says the same and more.
                    debug!(%error, "the grace that is used up could not be noted");
                    if outlived { STEP } else { STEP.min(over.since(now)) }
                }
            }
        })
        .await;
    }
}
