//! Durations.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use super::Leaf;

const TEN_YEARS: u64 = 315_360_000_000;

/// A duration from `MIN` to `MAX` milliseconds, written as a number of seconds, which may have a fraction, or as a text
/// with units, such as "1h 30m" or "500ms".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds<const MIN: u64, const MAX: u64>(Duration);

/// A timeout or an interval, which must not be zero.
pub type Timeout = Seconds<1, TEN_YEARS>;
/// A duration that may be zero, which turns off what it is for.
pub type Grace = Seconds<0, TEN_YEARS>;

impl<const MIN: u64, const MAX: u64> Seconds<MIN, MAX> {
    /// The shortest duration.
    pub const LEAST: Duration = Duration::from_millis(MIN);
    /// The longest duration.
    pub const MOST: Duration = Duration::from_millis(MAX);

    /// Parses a number of seconds, or a duration with units.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        match (text.parse(), humantime::parse_duration(text)) {
            (Ok(seconds), _) => Self::of(seconds),
            (_, Ok(duration)) => Self::within(Some(duration)),
            _ => Err(format!("must be {WRITTEN}")),
        }
    }

    fn of(seconds: f64) -> Result<Self, String> {
        // A number that overflows a duration is beyond every range.
        let duration = (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        // Rounded down, a number just above a bound would equal it, also a bound that is checked elsewhere.
        let duration = duration.map(|duration| match duration.as_nanos() as f64 / 1e9 < seconds {
            true => duration.saturating_add(Duration::from_nanos(1)),
            false => duration,
        });
        // Rounded to nanoseconds, a number just outside of the range would lie within.
        if (Self::LEAST.as_secs_f64()..=Self::MOST.as_secs_f64()).contains(&seconds) {
            Self::within(duration)
        } else {
            Err(Self::outside(duration))
        }
    }

    /// Checks the range; `None` is a negative duration.
    fn within(duration: Option<Duration>) -> Result<Self, String> {
        if let Some(duration) = duration.filter(|duration| (Self::LEAST..=Self::MOST).contains(duration)) {
            return Ok(Self(duration));
        }
        Err(Self::outside(duration))
    }

    fn outside(duration: Option<Duration>) -> String {
        let zero = if duration == Some(Duration::ZERO) { "0 is refused: " } else { "" };
        format!("{zero}must be {} to {} seconds", Self::LEAST.as_secs_f64(), Self::MOST.as_secs_f64())
    }
}

/// How a duration may be written, for error messages.
const WRITTEN: &str = "seconds (90) or a duration (\"1h 30m\")";

impl<const MIN: u64, const MAX: u64> Leaf for Seconds<MIN, MAX> {
    type Plain = Duration;

    fn plain(self) -> Duration {
        self.0
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Seconds<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor)
    }
}

struct SecondsVisitor<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Visitor<'_> for SecondsVisitor<MIN, MAX> {
    type Value = Seconds<MIN, MAX>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(WRITTEN)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Self::Value, E> {
        self.visit_f64(seconds as f64)
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Self::Value, E> {
        self.visit_f64(seconds as f64)
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Self::Value, E> {
        Seconds::of(seconds).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let duration = humantime::parse_duration(text).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
        Seconds::within(Some(duration)).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grace(json: &str) -> Result<Duration, String> {
        serde_json::from_str::<Grace>(json).map(Grace::plain).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_just_outside_of_the_range_is_not_rounded_into_it() {
        for outside in [0.000_999_999_999_999_999_6, 315_360_000.000_000_1] {
            assert!(Timeout::parse(&outside.to_string()).is_err(), "{outside}");
        }
        assert_eq!(Timeout::parse("0.001").map(Timeout::plain), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn a_number_just_above_a_bound_is_not_rounded_down_to_it() {
        for bound in [0.001_f64, 1.1, 90.7, 600.0, 86_400.0, 315_359_999.0] {
            let exact = Duration::from_secs_f64(bound);
            assert_eq!(Timeout::parse(&bound.to_string()).map(Timeout::plain), Ok(exact), "{bound}");
            let above = Timeout::parse(&bound.next_up().to_string()).map(Timeout::plain).unwrap();
            assert!(above > exact && above - exact < Duration::from_micros(1), "{bound}: {above:?}");
        }
    }

    #[test]
    fn a_duration_is_a_number_of_seconds_or_a_text_with_units() {
        for (json, milliseconds) in [
            ("0", 0),
            ("90", 90_000),
            ("0.25", 250),
            ("\"2h\"", 7_200_000),
            ("\"90m\"", 5_400_000),
            ("\"1h 30m\"", 5_400_000),
            ("\"1h30m\"", 5_400_000),
            ("\"500ms\"", 500),
        ] {
            assert_eq!(grace(json), Ok(Duration::from_millis(milliseconds)), "{json}");
        }
        assert_eq!(Grace::parse("90").map(Grace::plain), Ok(Duration::from_secs(90)));
        assert_eq!(Grace::parse("2m").map(Grace::plain), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn what_is_no_duration_or_beyond_its_range_is_told_the_rule() {
        for json in ["-1", "-0.5", "1e300", "315360001", "\"11years\""] {
            assert!(grace(json).unwrap_err().starts_with("must be 0 to 315360000 seconds"), "{json}");
        }
        for json in ["\"60\"", "\"soon\"", "\"\"", "\"-1s\"", "true", "[1]", "null"] {
            assert!(grace(json).unwrap_err().contains("seconds (90) or a duration (\"1h 30m\")"), "{json}");
        }
        for text in ["0", "0s"] {
            let zero = "0 is refused: must be 0.001 to 315360000 seconds";
            assert_eq!(Timeout::parse(text).unwrap_err(), zero, "{text}");
        }
        for text in ["nan", "-1", "1us", "1e9"] {
            assert_eq!(Timeout::parse(text).unwrap_err(), "must be 0.001 to 315360000 seconds", "{text}");
        }
        assert!(Timeout::parse("").unwrap_err().starts_with("must be seconds"));
    }
}
