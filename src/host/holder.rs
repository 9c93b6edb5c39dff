//! Describes who holds a lease: in words for people, and precisely enough that a successor on the same host knows when the
//! holder is dead.

use std::{fmt, fs, io};

use serde::{Deserialize, Serialize};

use crate::domain::EpochSeconds;

/// A process, distinct from every other process on any host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its host's name.
    pub host: String,
    /// Its number.
    pub pid: u32,
    /// This and the next two distinguish it from another process with the same number. Only Linux has them; elsewhere no
    /// process is ever known to be dead.
    boot_id: Option<String>,
    pid_namespace: Option<String>,
    /// When it started, in clock ticks since the boot.
    start_time: Option<u64>,
}

/// A supervisor that holds a lease or a lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// Its name.
    pub instance: String,
    /// Its process.
    #[serde(flatten)]
    pub process: Process,
    /// Since when.
    #[serde(default)]
    pub since: EpochSeconds,
}

impl Process {
    /// This process.
    pub fn this() -> Self {
        let pid = std::process::id();
        Self {
            host: hostname::get()
                .map_or_else(|_| "unknown host".to_owned(), |name| name.to_string_lossy().into_owned()),
            pid,
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned()),
            pid_namespace: fs::read_link("/proc/self/ns/pid").ok().map(|link| link.to_string_lossy().into_owned()),
            start_time: Stat::of("self").ok().flatten().map(|stat| stat.start_time),
        }
    }

    /// Whether this process is known to have ended. `here` is the asking process; both must be on the same boot of the
    /// same host and in the same namespace for their numbers to be comparable.
    pub fn is_dead(&self, here: &Self) -> bool {
        let comparable = self.host == here.host
            && self.boot_id.is_some()
            && self.boot_id == here.boot_id
            && self.pid_namespace.is_some()
            && self.pid_namespace == here.pid_namespace;
        // If /proc hides the processes of other users, it hides process 1, too, and absence proves nothing.
        if !comparable || !matches!(Stat::of("1"), Ok(Some(_))) {
            return false;
        }
        match Stat::of(&self.pid.to_string()) {
            Ok(None) => true,
            Ok(Some(stat)) => stat.ended || self.start_time.is_some_and(|start_time| start_time != stat.start_time),
            Err(_) => false,
        }
    }
}

/// The content of `/proc/PID/stat`.
struct Stat {
    /// Whether it is a zombie.
    ended: bool,
    start_time: u64,
}

impl Stat {
    /// Returns `None` if there is no such process.
    fn of(pid: &str) -> io::Result<Option<Self>> {
        let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Self::parse(&stat).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Counts fields after the command's name, which may contain blanks and parentheses: the state is the line's 3rd field
    /// and the start time the 22nd (proc(5)).
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X" | "x");
        Some(Self { ended, start_time: fields.nth(18)?.parse().ok()? })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, process: Process { host, pid, .. }, since } = self;
        write!(formatter, "instance {instance:?} on host {host:?}, process {pid}, since {}", Utc(*since))
    }
}

/// Formats a wall-clock time for people.
struct Utc(EpochSeconds);

impl fmt::Display for Utc {
    /// Computes the date by Howard Hinnant's `civil_from_days`, for days after 1970.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.clamp(0.0, 253_402_300_799.0) as u64;
        let (days, time) = (seconds / 86_400, seconds % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
        write!(formatter, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_the_calendar_has_them() {
        for (seconds, words) in [
            (0.0, "1970-01-01 00:00:00 UTC"),
            (951_782_399.9, "2000-02-28 23:59:59 UTC"),
            (951_782_400.0, "2000-02-29 00:00:00 UTC"),
            (1_795_441_217.5, "2026-11-23 13:40:17 UTC"),
            (f64::NAN, "1970-01-01 00:00:00 UTC"),
        ] {
            assert_eq!(Utc(seconds).to_string(), words);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_dead_only_when_its_number_is_free_or_another_ones() {
        let here = Process::this();
        assert!(!here.is_dead(&here));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(Process { pid, ..here.clone() }.is_dead(&here));
        assert!(Process { start_time: here.start_time.map(|time| time + 1), ..here.clone() }.is_dead(&here));
        let elsewhere = Process { pid, host: "elsewhere".to_owned(), ..here.clone() };
        assert!(!elsewhere.is_dead(&here));
        assert!(!Process { pid, boot_id: None, ..here.clone() }.is_dead(&Process { boot_id: None, ..here }));
    }

    #[test]
    fn a_command_named_to_confuse_does_not() {
        let stat = Stat::parse("7 (a) Z (b) S 1 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 2").unwrap();
        assert_eq!((stat.ended, stat.start_time), (false, 4242));
    }
}
