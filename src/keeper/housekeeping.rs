//! Small tasks: they follow the wall clock, write everything again after the store has lost it, and drop tombstones.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{actor::Shared, domain::sandbox::Event, feed::Change, loops::repeat};

/// Notices when the wall clock is set, or has gone on while the host slept. No deadline depends on it, but the times in
/// records do: they are written again, or the next start would take them for long past.
pub(super) async fn follow_wall(shared: Arc<Shared>, stop: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(1);
    repeat(&stop, EVERY, None, || async {
        if let Some(seconds) = shared.clock.follow_wall() {
            warn!(seconds, "the wall clock was set; no deadline moves, and the records are written anew");
            shared.registry.each_live(|handle| handle.tell(Event::WallClockSet));
            let now = shared.clock.now();
            shared.registry.each_ended(|sandbox| shared.feed.publish(Change::Changed, sandbox, now));
        }
        EVERY
    })
    .await;
}

/// Has every living sandbox written again when the store has lost its data. A task that died may have left that unfinished,
/// so its successor begins with it.
pub(super) async fn restore_store(shared: Arc<Shared>, stop: CancellationToken, deaths: u32) {
    if deaths > 0 {
        shared.registry.each_live(|handle| handle.tell(Event::StoreReverted));
    }
    repeat(&stop, Duration::ZERO, None, || async {
        shared.journal.reverted().await;
        shared.registry.each_live(|handle| handle.tell(Event::StoreReverted));
        Duration::ZERO
    })
    .await;
}

/// Drops tombstones whose retention is over, and lets a feed that nobody reads fall asleep.
pub(super) async fn forget_tombstones(shared: Arc<Shared>, stop: CancellationToken) {
    let every = (shared.retention / 10).clamp(Duration::from_millis(500), Duration::from_secs(30));
    repeat(&stop, every, None, || async {
        let now = shared.clock.now();
        shared.registry.forget_expired(now.moment, |sandbox| shared.feed.publish(Change::Forgotten, sandbox, now));
        shared.feed.tend(now.moment);
        every
    })
    .await;
}
