//! Times of files, as the protocol and HTTP write them.

/// A time in UTC as RFC 3339 writes it, with as many digits behind the second as it has: none, three, six or nine.
///
/// `seconds` since the Unix epoch, which may be negative, and nanoseconds from 0 to 999,999,999.
pub(crate) fn rfc3339(seconds: i64, nanoseconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let fraction = match nanoseconds {
        0 => String::new(),
        _ if nanoseconds % 1_000_000 == 0 => format!(".{:03}", nanoseconds / 1_000_000),
        _ if nanoseconds % 1_000 == 0 => format!(".{:06}", nanoseconds / 1_000),
        _ => format!(".{nanoseconds:09}"),
    };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// A time in seconds since the Unix epoch as HTTP's headers have it: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn http(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    // Both are in range: a remainder of 7, and a month from 1 to 12.
    let weekday = usize::try_from(days.rem_euclid(7)).map_or("", |day| DAYS[day]);
    let month = usize::try_from(month - 1).map_or("", |month| MONTHS[month]);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Year, month and day of the given day since 1970-01-01, in the proleptic Gregorian calendar.
///
/// The years start in March, so that the leap day is the last of its year; 400 years have 146,097 days.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Reads seconds since the Unix epoch with an optional fraction, `1700000000.25` or `-1`, as seconds and nanoseconds.
pub(super) fn parse(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    // More than nine digits are cut off: the file system has no use for them.
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    // A negative time's fraction leads further back; the kernel counts it forwards.
    Some(match whole.starts_with('-') && nanoseconds > 0 {
        true => (seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds),
        false => (seconds, nanoseconds),
    })
}

/// The same the other way round, with nine digits behind the second.
pub(super) fn decimal(seconds: i64, nanoseconds: i64) -> String {
    match seconds < 0 && nanoseconds > 0 {
        // The fraction of a negative number leads further back.
        true => format!("{}{}.{:09}", if seconds == -1 { "-" } else { "" }, seconds + 1, 1_000_000_000 - nanoseconds),
        false => format!("{seconds}.{nanoseconds:09}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_rfc_3339() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_709_251_199, 120_000_000, "2024-02-29T23:59:59.120Z"),
            (1_735_689_599, 1_000, "2024-12-31T23:59:59.000001Z"),
            (4_107_542_400, 123_456_789, "2100-03-01T00:00:00.123456789Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
            (-2_203_891_200, 0, "1900-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds, nanoseconds), text);
        }
    }

    #[test]
    fn times_are_written_as_in_http() {
        assert_eq!(http(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
    }

    #[test]
    fn times_are_read_as_seconds_with_a_fraction() {
        for (text, time) in [
            ("0", Some((0, 0))),
            ("1700000000.25", Some((1_700_000_000, 250_000_000))),
            ("12.1234567891", Some((12, 123_456_789))),
            ("-1.5", Some((-2, 500_000_000))),
            ("", None),
            ("1.x", None),
            ("now", None),
        ] {
            assert_eq!(parse(text), time, "{text:?}");
        }
    }

    #[test]
    fn times_are_written_so_that_they_are_read_again() {
        for time in [(0, 0), (5, 1), (-1, 0), (-1, 999_999_999), (-1, 1), (-7, 250_000_000), (i64::MAX, 999_999_999)] {
            assert_eq!(parse(&decimal(time.0, time.1)), Some(time), "{}", decimal(time.0, time.1));
        }
    }
}
