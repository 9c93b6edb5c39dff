//! Counters, in the OpenMetrics text format.

use std::{
    fmt::Write,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::domain::{ActivitySource, EndReason, Status, sandbox::End};

/// Upper bounds in seconds: fine around the goals (10 ms, 50 ms), coarse where something is wrong.
const LATENESS_BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0, 3600.0];
const LAG_BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 10.0, 60.0, 600.0];

/// A label of one name whose values are words.
macro_rules! label {
    ($name:ident { $field:ident: $word:ty }) => {
        #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
        struct $name {
            $field: Word<$word>,
        }
    };
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Word<T>(T);

macro_rules! encode_words {
    ($($word:ty),+) => {
        $(impl EncodeLabelValue for Word<$word> {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                encoder.write_str(self.0.as_str())
            }
        })+
    };
}

encode_words!(Status, EndReason, ActivitySource);
label!(ByStatus { status: Status });
label!(ByReason { reason: EndReason });
label!(BySource { source: ActivitySource });

/// A background task, by its name.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByTask {
    task: &'static str,
}

/// The counters. Cheap to update from any thread.
#[derive(Debug)]
pub struct Metrics {
    /// By [`Status`], in the order of [`Status::ALL`]; encoded as a gauge.
    sandboxes: [AtomicI64; Status::ALL.len()],
    by_status: Family<ByStatus, Gauge>,
    activity: [Counter; ActivitySource::ALL.len()],
    ends: Family<ByReason, Counter>,
    lateness: Histogram,
    removal_retries: Counter,
    store_commits: Counter,
    store_records: Counter,
    store_failures: Counter,
    journal_lag: Histogram,
    quarantined: Counter,
    actor_losses: Counter,
    sweep_rescues: Counter,
    restored: Counter,
    stream_lags: Counter,
    records_lost: Counter,
    task_deaths: Family<ByTask, Counter>,
    streams: Gauge<f64, AtomicU64>,
    foreign: Gauge<f64, AtomicU64>,
    snapshots: Gauge<f64, AtomicU64>,
    journal_backlog: Gauge<f64, AtomicU64>,
    journal_oldest: Gauge<f64, AtomicU64>,
    store_up: Gauge<f64, AtomicU64>,
    runtime_up: Gauge<f64, AtomicU64>,
    registry: Registry,
}

/// Values that their owners supply at each scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scrape {
    /// How many writes wait in the journal.
    pub journal_backlog: usize,
    /// How many seconds the oldest of them has waited.
    pub journal_oldest_seconds: f64,
    /// How many status streams are open.
    pub streams: usize,
    /// How many containers of this prefix were made by a supervisor with another store.
    pub foreign: usize,
    /// How many snapshots there are.
    pub snapshots: usize,
    /// Whether the store takes writes.
    pub store_up: bool,
    /// Whether the container engine answers.
    pub runtime_up: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("sandglass");
        let by_status = Family::<ByStatus, Gauge>::default();
        registry.register("sandboxes", "Sandboxes that are not gone, by status", by_status.clone());
        let activity_family = Family::<BySource, Counter>::default();
        registry.register("pings", "What reset an idle clock, by source", activity_family.clone());
        let ends = Family::<ByReason, Counter>::default();
        registry.register("ends", "Ends that were decided, by reason", ends.clone());
        let task_deaths = Family::<ByTask, Counter>::default();
        let help = "Background tasks that died and were started again, by name; none in a healthy build";
        registry.register("task_deaths", help, task_deaths.clone());
        let lateness = Histogram::new(LATENESS_BUCKETS);
        let help = "When a deadline's action began, minus the deadline";
        registry.register_with_unit("lateness", help, Unit::Seconds, lateness.clone());
        let journal_lag = Histogram::new(LAG_BUCKETS);
        let help = "How long the oldest write of a commit had waited";
        registry.register_with_unit("journal_lag", help, Unit::Seconds, journal_lag.clone());
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::<f64, AtomicU64>::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let journal_backlog = gauge("journal_backlog", "Writes that wait in the journal");
        let journal_oldest = gauge("journal_oldest_seconds", "How long the oldest of them has waited");
        let streams = gauge("streams", "Status streams that are open");
        let foreign =
            gauge("foreign_containers", "Containers of this prefix that a supervisor with another store has made");
        let snapshots = gauge("snapshots", "Snapshots at the last comparison with the engine");
        let store_up = gauge("store_up", "Whether the store takes writes");
        let runtime_up = gauge("runtime_up", "Whether the container engine answers");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        Self {
            removal_retries: counter("removal_retries", "Removals of containers that failed and are tried again"),
            store_commits: counter("store_commits", "Commits to the store"),
            store_records: counter("store_records", "Records written to the store"),
            store_failures: counter("store_failures", "Commits that failed and are tried again"),
            quarantined: counter("quarantined", "Records that were not understood and are kept aside"),
            actor_losses: counter("actor_losses", "Actors that died and were brought back; 0 in a healthy build"),
            sweep_rescues: counter("sweep_rescues", "Deadlines that only the sweep noticed; 0 in a healthy build"),
            stream_lags: counter("stream_lags", "Times that a status stream was read too slowly and began anew"),
            records_lost: counter("records_lost", "Records that the store had lost and that were written again"),
            restored: counter("rehydrated", "Sandboxes brought back at start"),
            activity: std::array::from_fn(|index| {
                activity_family.get_or_create(&BySource { source: Word(ActivitySource::ALL[index]) }).clone()
            }),
            sandboxes: Default::default(),
            by_status,
            ends,
            task_deaths,
            lateness,
            journal_lag,
            streams,
            foreign,
            snapshots,
            journal_backlog,
            journal_oldest,
            store_up,
            runtime_up,
            registry,
        }
    }

    /// A sandbox appeared (`from` is `None`), changed its status, or left (`to` is `None`).
    pub fn status_changed(&self, from: Option<Status>, to: Option<Status>) {
        if let Some(from) = from {
            self.sandboxes[from as usize].fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(to) = to {
            self.sandboxes[to as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many sandboxes have this status.
    pub fn sandboxes(&self, status: Status) -> i64 {
        self.sandboxes[status as usize].load(Ordering::Relaxed)
    }

    /// An idle clock was reset.
    pub fn activity(&self, source: ActivitySource) {
        self.activity[source as usize].inc();
    }

    /// An end was decided.
    pub fn ended(&self, end: &End) {
        self.ends.get_or_create(&ByReason { reason: Word(end.reason) }).inc();
        if let Some(lateness) = end.lateness() {
            self.lateness.observe(lateness.as_secs_f64());
        }
    }

    /// A removal failed.
    pub fn removal_failed(&self) {
        self.removal_retries.inc();
    }

    /// A commit succeeded.
    pub fn store_committed(&self, records: usize, lag: Duration) {
        self.store_commits.inc();
        self.store_records.inc_by(records as u64);
        self.journal_lag.observe(lag.as_secs_f64());
    }

    /// A commit failed.
    pub fn store_failed(&self) {
        self.store_failures.inc();
    }

    /// A record was not understood.
    pub fn quarantined(&self) {
        self.quarantined.inc();
    }

    /// An actor died, and its sandbox was restored.
    pub fn actor_lost(&self) {
        self.actor_losses.inc();
    }

    /// A timer was lost, and the sweep acted on the deadline.
    pub fn rescued(&self) {
        self.sweep_rescues.inc();
    }

    /// A reader of the status stream was too slow.
    pub fn stream_lagged(&self) {
        self.stream_lags.inc();
    }

    /// The store had lost the record of a living sandbox.
    pub fn record_lost(&self) {
        self.records_lost.inc();
    }

    /// A background task died.
    pub fn task_died(&self, task: &'static str) {
        self.task_deaths.get_or_create(&ByTask { task }).inc();
    }

    /// A sandbox was restored.
    pub fn restored(&self) {
        self.restored.inc();
    }

    /// The text for `GET /metrics`.
    pub fn render(&self, scrape: &Scrape) -> String {
        for status in Status::ALL {
            self.by_status.get_or_create(&ByStatus { status: Word(*status) }).set(self.sandboxes(*status));
        }
        self.streams.set(scrape.streams as f64);
        self.foreign.set(scrape.foreign as f64);
        self.snapshots.set(scrape.snapshots as f64);
        self.journal_backlog.set(scrape.journal_backlog as f64);
        self.journal_oldest.set(scrape.journal_oldest_seconds);
        self.store_up.set(f64::from(u8::from(scrape.store_up)));
        self.runtime_up.set(f64::from(u8::from(scrape.runtime_up)));
        let mut text = String::with_capacity(8 * 1024);
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Moment, Now};

    #[test]
    fn what_happened_can_be_read_from_the_text() {
        let metrics = Metrics::new();
        metrics.status_changed(None, Some(Status::Pending));
        metrics.status_changed(Some(Status::Pending), Some(Status::Running));
        metrics.activity(ActivitySource::Ping);
        let now = Now { moment: Moment::from_nanos(1_003_000_000), epoch_offset: 0 };
        metrics.ended(&End { deadline: Some(Moment::from_nanos(1_000_000_000)), ..End::now(EndReason::Idle, now) });
        let text = metrics.render(&Scrape { journal_backlog: 7, ..Default::default() });
        for line in [
            "sandglass_sandboxes{status=\"running\"} 1",
            "sandglass_sandboxes{status=\"pending\"} 0",
            "sandglass_pings_total{source=\"ping\"} 1",
            "sandglass_ends_total{reason=\"idle\"} 1",
            "sandglass_lateness_seconds_bucket{le=\"0.005\"} 1",
            "sandglass_lateness_seconds_bucket{le=\"0.002\"} 0",
            "sandglass_journal_backlog 7.0",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
