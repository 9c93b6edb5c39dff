//! Time in the domain, which never reads a clock: time is always an argument.
//!
//! Deadlines are [`Moment`]s of a monotonic clock, so that a wall clock that jumps and a host that sleeps end no
//! sandbox (see [design: clocks](crate::design::time::clocks)). Epoch seconds are for people and for the store; [`Now`] converts between the two with one
//! fixed offset, so the same moment always has the same wall-clock time, to the last digit.

use std::time::Duration;

/// Wall-clock time in seconds since the Unix epoch, as in records and answers.
pub type EpochSeconds = f64;

const NANOS_PER_SECOND: f64 = 1e9;

/// A point in monotonic time, in nanoseconds since the process's clock began. Restored sandboxes have moments before that,
/// which are negative. Arithmetic saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(i64);

impl Moment {
    /// Before every other moment.
    pub const DISTANT_PAST: Self = Self(i64::MIN);

    /// The moment `nanos` nanoseconds after the clock began.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock began.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Returns the moment `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Returns the moment `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Returns how long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic reading, which deadlines are compared with.
    pub moment: Moment,
    /// Nanoseconds to add to a moment to get nanoseconds since the Unix epoch.
    pub epoch_offset: i64,
}

impl Now {
    /// Returns the wall-clock time of this reading.
    pub fn wall(&self) -> EpochSeconds {
        self.wall_at(self.moment)
    }

    /// Returns the wall-clock time of `moment`.
    pub fn wall_at(&self, moment: Moment) -> EpochSeconds {
        moment.0.saturating_add(self.epoch_offset) as f64 / NANOS_PER_SECOND
    }

    /// Returns the moment at which the wall clock shows `wall`.
    pub fn moment_at(&self, wall: EpochSeconds) -> Moment {
        // A float-to-integer cast saturates and maps NaN to 0, so no stored time makes this panic.
        Moment(((wall * NANOS_PER_SECOND) as i64).saturating_sub(self.epoch_offset))
    }
}

/// A duration for people: `1 h 59 min`, `42 s`, `0.5 s`.
pub fn for_people(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 && duration.subsec_millis() >= 100 => format!("{:.1} s", duration.as_secs_f64()),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { moment: Moment(5_000_000_000), epoch_offset: 1_795_441_217_506_918_200 };

    #[test]
    fn wall_time_of_a_moment_is_the_same_whenever_it_is_asked_for() {
        let later = Now { moment: NOW.moment.plus(Duration::from_secs(77)), ..NOW };
        let moment = Moment(123_456_789);
        assert_eq!(NOW.wall_at(moment).to_bits(), later.wall_at(moment).to_bits());
    }

    #[test]
    fn stored_times_of_any_size_become_moments_without_a_panic() {
        for wall in [0.0, -1e300, 1e300, f64::NAN, f64::INFINITY, 1_795_441_217.5] {
            let moment = NOW.moment_at(wall);
            let _ = (moment.plus(Duration::MAX), moment.minus(Duration::MAX), moment.since(Moment::DISTANT_PAST));
        }
    }

    #[test]
    fn a_stored_time_comes_back_within_a_microsecond() {
        let wall = NOW.wall();
        let back = NOW.moment_at(wall);
        assert!(back.since(NOW.moment).max(NOW.moment.since(back)) < Duration::from_micros(1));
    }

    #[test]
    fn durations_are_told_in_the_two_largest_units() {
        for (milliseconds, words) in [
            (0, "0 s"),
            (50, "0 s"),
            (500, "0.5 s"),
            (9_960, "10.0 s"),
            (59_999, "59 s"),
            (60_000, "1 min 0 s"),
            (7_199_000, "1 h 59 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(for_people(Duration::from_millis(milliseconds)), words);
        }
    }
}
