//! What the sandbox uses, as the kernel tells it inside: `GET /metrics`, with the fields of E2B's `envd`.
//!
//! A limit that the container has counts, and otherwise what the machine has.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use nix::sys::statvfs::statvfs;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::clock;

/// Where the kernel tells of control groups: of the second version in the directory itself, of the first below it.
const GROUPS: &str = "/sys/fs/cgroup";

/// How long processors are watched when nobody has asked before.
const FIRST: Duration = Duration::from_millis(100);

/// What is used; sizes in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Metrics {
    /// Seconds since the Unix epoch.
    ts: u64,
    cpu_count: usize,
    /// Of all processors that it may use, since this was last asked for.
    cpu_used_pct: f64,
    mem_total: u64,
    /// Without what the kernel would give back at once.
    mem_used: u64,
    mem_cache: u64,
    disk_used: u64,
    disk_total: u64,
}

/// Measures, and keeps the last time of the processors to compare with.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Option<(Instant, Duration)>>);

impl Meter {
    /// What is used now.
    pub(crate) async fn measure(&self) -> Metrics {
        let root = Path::new(GROUPS);
        let cpu_count = thread::available_parallelism().map_or(1, usize::from);
        let memory = Memory::read(root, Path::new("/proc/meminfo"));
        let (disk_used, disk_total) = disk("/");
        Metrics {
            ts: clock::now_ms() / 1000,
            cpu_count,
            cpu_used_pct: self.processors(root, cpu_count).await,
            mem_total: memory.total,
            mem_used: memory.used,
            mem_cache: memory.cache,
            disk_used,
            disk_total,
        }
    }

    async fn processors(&self, root: &Path, count: usize) -> f64 {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(used) = processor_time(root) else { return 0.0 };
        let (before, used_before) = match last {
            Some(last) if last.0.elapsed() >= FIRST => last,
            _ => {
                let now = Instant::now();
                sleep(FIRST).await;
                (now, used)
            }
        };
        let (now, used) = (Instant::now(), processor_time(root).unwrap_or(used));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, used));
        let possible = now.duration_since(before).as_secs_f64() * u32::try_from(count).map_or(1.0, f64::from);
        let percent = used.saturating_sub(used_before).as_secs_f64() / possible * 100.0;
        // Two digits, as in E2B.
        (percent.clamp(0.0, 100.0) * 100.0).round() / 100.0
    }
}

/// The processors' time that the container has used.
fn processor_time(root: &Path) -> Option<Duration> {
    if let Some(micros) = field(&root.join("cpu.stat"), "usage_usec") {
        return Some(Duration::from_micros(micros));
    }
    number(&root.join("cpuacct/cpuacct.usage")).map(Duration::from_nanos)
}

#[derive(Debug, PartialEq, Eq)]
struct Memory {
    total: u64,
    used: u64,
    cache: u64,
}

impl Memory {
    fn read(root: &Path, machine: &Path) -> Self {
        let machine = |name: &str| field(machine, name).unwrap_or(0) * 1024;
        let total = machine("MemTotal:");
        let (second, first) = (root.to_owned(), root.join("memory"));
        let used = number(&second.join("memory.current")).or_else(|| number(&first.join("memory.usage_in_bytes")));
        let Some(used) = used else {
            let cache = machine("Cached:");
            return Self { total, used: total.saturating_sub(machine("MemAvailable:")), cache };
        };
        let limit = number(&second.join("memory.max")).or_else(|| number(&first.join("memory.limit_in_bytes")));
        // Groups of the first version tell of those below them in fields of their own.
        let told = |old: &str, new: &str| {
            field(&second.join("memory.stat"), new).or_else(|| field(&first.join("memory.stat"), old)).unwrap_or(0)
        };
        let inactive = told("total_inactive_file", "inactive_file");
        Self {
            // No limit is a word, or more than there is.
            total: limit.filter(|limit| *limit < total).unwrap_or(total),
            used: used.saturating_sub(inactive),
            cache: told("total_cache", "file"),
        }
    }
}

/// The used and all bytes of the file system at a path.
fn disk(path: &str) -> (u64, u64) {
    statvfs(path).map_or((0, 0), |told| {
        let size = told.fragment_size();
        ((told.blocks() - told.blocks_free()) * size, told.blocks() * size)
    })
}

/// The number that a file is.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind a name in a file of names and numbers.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.lines().map(str::split_whitespace);
    fields.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in all {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MACHINE: (&str, &str) = ("meminfo", "MemTotal: 1000 kB\nMemAvailable: 600 kB\nCached: 100 kB\n");

    #[test]
    fn a_limit_of_the_container_counts_and_otherwise_what_the_machine_has() {
        for (group, memory) in [
            (vec![], Memory { total: 1_024_000, used: 409_600, cache: 102_400 }),
            (
                vec![
                    ("memory.current", "300000\n"),
                    ("memory.max", "500000\n"),
                    ("memory.stat", "anon 1\nfile 90000\ninactive_file 50000\n"),
                ],
                Memory { total: 500_000, used: 250_000, cache: 90_000 },
            ),
            (
                vec![("memory.current", "300000\n"), ("memory.max", "max\n")],
                Memory { total: 1_024_000, used: 300_000, cache: 0 },
            ),
            (
                vec![
                    ("memory/memory.usage_in_bytes", "300000\n"),
                    ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                    ("memory/memory.stat", "cache 5\ntotal_cache 90000\ntotal_inactive_file 50000\n"),
                ],
                Memory { total: 1_024_000, used: 250_000, cache: 90_000 },
            ),
        ] {
            let root = files(&[&group[..], &[MACHINE]].concat());
            assert_eq!(Memory::read(root.path(), &root.path().join("meminfo")), memory, "{group:?}");
        }
    }

    #[test]
    fn the_time_of_processors_is_read_from_both_kinds_of_groups() {
        let root = files(&[("cpu.stat", "usage_usec 1500000\nuser_usec 1\n")]);
        assert_eq!(processor_time(root.path()), Some(Duration::from_millis(1500)));
        let root = files(&[("cpuacct/cpuacct.usage", "1500000000\n")]);
        assert_eq!(processor_time(root.path()), Some(Duration::from_millis(1500)));
        assert_eq!(processor_time(files(&[]).path()), None);
    }

    #[tokio::test]
    async fn everything_is_measured() {
        let meter = Meter::default();
        for _ in 0..2 {
            let told = meter.measure().await;
            assert!(told.cpu_count > 0 && (0.0..=100.0).contains(&told.cpu_used_pct), "{told:?}");
            assert!(0 < told.mem_used && told.mem_used <= told.mem_total, "{told:?}");
            assert!(0 < told.disk_used && told.disk_used <= told.disk_total, "{told:?}");
        }
    }
}
