//! Small tasks that keep the books: after the wall clock, after a store that lost everything, and over tombstones.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    actor::{SandboxHandle, Shared},
    feed::Change,
    loops::repeat,
};

/// Follows a wall clock that is set anew, or that went on while the host slept. No deadline is on it; but the times in the
/// records are, so they are written anew, or the next start would read them as long past.
pub(super) async fn follow_wall(shared: Arc<Shared>, stop: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(1);
    repeat(&stop, EVERY, None, || async {
        if let Some(seconds) = shared.clock.follow_wall() {
            warn!(seconds, "the wall clock was set; no deadline moves, and the records are written anew");
            shared.registry.each_live(SandboxHandle::wall_clock_set);
            let now = shared.clock.now();
            shared.registry.each_ended(|sandbox| shared.feed.publish(Change::Changed, sandbox, now));
        }
        EVERY
    })
    .await;
}

/// Has everything that lives written again when the store has lost what it had. One that died may have been at it, so that
/// its successor begins with that.
pub(super) async fn restore_store(shared: Arc<Shared>, stop: CancellationToken, deaths: u32) {
    if deaths > 0 {
        shared.registry.each_live(SandboxHandle::rewrite);
    }
    repeat(&stop, Duration::ZERO, None, || async {
        shared.journal.reverted().await;
        shared.registry.each_live(SandboxHandle::rewrite);
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
