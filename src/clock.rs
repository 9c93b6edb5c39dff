//! Reads the clocks. No other module does.
//!
//! Deadlines are on tokio's monotonic clock, which tests can pause. The wall clock is read once, at the start, and then
//! derived from the monotonic one: setting it, or a host that sleeps, moves no deadline and makes no answer contradict an
//! earlier one (see [design: clocks](crate::design::time::clocks)).

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::domain::{Moment, Now};

/// How far the wall clock may drift from the derived one before it counts as set.
const JUMP: Duration = Duration::from_millis(500);

/// Reads the wall clock, in nanoseconds since the Unix epoch.
pub type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A clock. Cheap to clone; all clones agree.
#[derive(Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

struct Inner {
    began: Instant,
    /// Turns moments into nanoseconds since the epoch.
    epoch_offset: AtomicI64,
    wall: WallClock,
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self::with_wall(Arc::new(system_wall))
    }

    /// tokio's monotonic clock, and the caller's wall clock.
    pub fn with_wall(wall: WallClock) -> Self {
        let inner = Inner { began: Instant::now(), epoch_offset: AtomicI64::new(wall()), wall };
        Self { inner: Arc::new(inner) }
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        let nanos = i64::try_from(self.inner.began.elapsed().as_nanos()).unwrap_or(i64::MAX);
        Now { moment: Moment::from_nanos(nanos), epoch_offset: self.inner.epoch_offset.load(Ordering::Relaxed) }
    }

    /// Compares with the wall clock and, if it was set, follows it and returns by how many seconds it jumped. Moments then
    /// have different wall-clock times, so times that were written down must be written again.
    pub fn follow_wall(&self) -> Option<f64> {
        let now = self.now();
        let offset = (self.inner.wall)().saturating_sub(now.moment.as_nanos());
        let jump = offset.saturating_sub(now.epoch_offset);
        if Duration::from_nanos(jump.unsigned_abs()) < JUMP {
            return None;
        }
        self.inner.epoch_offset.store(offset, Ordering::Relaxed);
        Some(Duration::from_nanos(jump.unsigned_abs()).as_secs_f64().copysign(jump as f64))
    }

    /// The instant at which tokio's clock shows `moment`, for arming a timer. A past moment becomes now.
    pub fn instant_at(&self, moment: Moment) -> Instant {
        let began = self.inner.began;
        let after = u64::try_from(moment.as_nanos()).unwrap_or(0);
        // Timeouts are bounded to years; beyond the clock's range is never.
        began.checked_add(Duration::from_nanos(after)).unwrap_or_else(|| began + FAR)
    }
}

/// Longer than any process runs.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[expect(clippy::disallowed_types, reason = "this is the file that reads the clock")]
fn system_wall() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, |duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// The machine's wall clock in epoch seconds, for the expiries of the store.
pub fn wall_seconds() -> f64 {
    system_wall() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_jumps_moves_no_moment() {
        let wall = Arc::new(AtomicI64::new(1_000_000_000_000));
        let source = wall.clone();
        let clock = Clock::with_wall(Arc::new(move || source.load(Ordering::Relaxed)));
        let before = clock.now();
        wall.fetch_add(3_600_000_000_000, Ordering::Relaxed);
        assert_eq!(clock.now(), before);
        assert_eq!(clock.follow_wall(), Some(3600.0));
        assert_eq!(clock.now().moment, before.moment);
        assert_eq!(clock.now().wall() - before.wall(), 3600.0);
        assert_eq!(clock.follow_wall(), None);
        wall.fetch_sub(7_200_000_000_000, Ordering::Relaxed);
        assert_eq!(clock.follow_wall(), Some(-7200.0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_instant_is_the_moment_it_was_made_from() {
        let clock = Clock::system();
        let moment = clock.now().moment.plus(Duration::from_secs(5));
        tokio::time::sleep_until(clock.instant_at(moment)).await;
        assert!(clock.now().moment >= moment);
        let _ = clock.instant_at(Moment::from_nanos(i64::MAX));
        let _ = clock.instant_at(Moment::DISTANT_PAST);
    }
}
