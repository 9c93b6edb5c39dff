//! What pings cost the store: at most one record per sandbox and flush.

use std::time::Duration;

use crate::{
    child::Helper,
    figures::Pace,
    load::{Generator, Kind, Load},
    machine,
    planted::{Crop, FLUSH_INTERVAL},
    redis::RedisServer,
    roles::server::{Place, Question, Ready, Setup, WrittenAnswer},
    table::{Row, value},
};

const SANDBOXES: usize = 1000;
const PINGS_PER_SECOND: f64 = 50_000.0;
/// How many pings share a request, so that the load is on the store and not on HTTP.
const BATCH: usize = 100;

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut rows = written("embedded store", Place::File(directory.path().join("writes.redb")), pace).await;
    if machine::has_program("redis-server") {
        let redis = RedisServer::start();
        rows.extend(written("Redis", Place::Redis(redis.url()), pace).await);
    } else {
        rows.push(Row::left_out("writes to Redis", "redis-server is not installed"));
    }
    rows
}

async fn written(store: &str, place: Place, pace: Pace) -> Vec<Row> {
    let mut server = Helper::start("server", &Setup { place, crop: Crop::quiet(SANDBOXES), plant: true });
    let ready: Ready = server.hear().await;
    let mut generator = Generator::start();
    let load = |seconds| Load {
        port: ready.port,
        kind: Kind::Batch(BATCH),
        sandboxes: SANDBOXES,
        connections: 8,
        seconds,
        rate: Some(PINGS_PER_SECOND / BATCH as f64),
    };
    // The first pings after a long silence wait for their writes, so leave them out.
    generator.put(load(2.0), server.pid()).await;
    let _: WrittenAnswer = server.ask(&Question::Written).await;
    let lag = Lag::read(ready.port).await;
    let done = generator.put(load(pace.pick(20.0, 2.0)), server.pid()).await.done;
    let written: WrittenAnswer = server.ask(&Question::Written).await;
    let lag = Lag::read(ready.port).await.since(&lag).p99();
    server.end().await;

    let pings = done.per_second() * BATCH as f64;
    let flushes = done.seconds / FLUSH_INTERVAL.as_secs_f64();
    let note = format!(
        "{} commits with {} records in {:.0} s at {pings:.0} pings/s, {:.0} records per second",
        written.commits,
        written.records,
        done.seconds,
        written.records as f64 / flushes
    );
    vec![
        Row::of(format!("records per flush, {store}, at most"), value(written.most as f64, "records"))
            .at_most(SANDBOXES as f64)
            .note(note),
        Row::of(format!("journal lag, {store}, p99 within"), value(lag.as_secs_f64(), "s")),
    ]
}

/// The histogram of the waits of writes.
struct Lag(Vec<(f64, f64)>);

impl Lag {
    async fn read(port: u16) -> Self {
        let url = format!("http://127.0.0.1:{port}/metrics");
        let text = reqwest::get(url).await.expect("it answers").text().await.expect("text");
        let bucket = |line: &str| {
            let (bound, count) = line.strip_prefix("sandglass_journal_lag_seconds_bucket{le=\"")?.split_once("\"} ")?;
            Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
        };
        Self(text.lines().filter_map(bucket).collect())
    }

    fn since(&self, earlier: &Self) -> Self {
        let pairs = self.0.iter().zip(&earlier.0);
        Self(pairs.map(|((bound, now), (_, before))| (*bound, now - before)).collect())
    }

    /// The bound of the bucket with this quantile.
    fn p99(&self) -> Duration {
        let all = self.0.last().map_or(0.0, |(_, count)| *count);
        let bound = self.0.iter().find(|(_, count)| *count >= all * 0.99).map_or(f64::INFINITY, |(bound, _)| *bound);
        Duration::try_from_secs_f64(bound).unwrap_or(Duration::MAX)
    }
}
