//! Pings over HTTP: against a bare handler that answers the same bytes, with few and with many sandboxes, and with each
//! store.
//!
//! The number of live sandboxes must not matter, but the number of pinged ones does:
//! a ping after a second of silence is acknowledged once it is written, so that no crash can take it back. Pinging all of
//! 100,000 in turn, each once in two seconds, would measure a store that takes a record for most of the pings.

use crate::{
    child::Helper,
    figures::Pace,
    load::{Generator, Kind, Load, Measured, median},
    machine,
    planted::Crop,
    redis::RedisServer,
    roles::server::{Place, Ready, Setup},
    table::{Row, value},
};

const CONNECTIONS: usize = 64;
const FEW: usize = 100;
const MANY: usize = 100_000;

/// A server, and its measurements in each round.
struct Contestant {
    what: String,
    /// The number of sandboxes that are pinged at random.
    pinged: usize,
    /// Whether it has to meet the goal.
    judged: bool,
    server: Helper,
    port: u16,
    rounds: Vec<Measured>,
}

impl Contestant {
    async fn bare() -> Self {
        let mut server = Helper::start("bare", &());
        let port = server.hear().await;
        let what = "the bare handler".to_owned();
        Self { what, pinged: FEW, judged: false, server, port, rounds: Vec::new() }
    }

    async fn sandglass(store: &str, place: Place, sandboxes: usize, pinged: usize) -> Self {
        let plant = !matches!(place, Place::Nowhere);
        let mut server = Helper::start("server", &Setup { place, crop: Crop::quiet(sandboxes), plant });
        let ready: Ready = server.hear().await;
        assert_eq!(ready.sandboxes, sandboxes, "all are back");
        let some = if pinged < sandboxes { format!("{pinged} of ") } else { String::new() };
        let what = format!("pings of {some}{sandboxes} sandboxes, {store}");
        Self { what, pinged, judged: sandboxes == MANY, server, port: ready.port, rounds: Vec::new() }
    }

    async fn round(&mut self, generator: &mut Generator, kind: Kind, connections: usize, seconds: f64) {
        let Self { port, pinged, .. } = *self;
        let load = Load { port, kind, sandboxes: pinged, connections, seconds, rate: None };
        self.rounds.push(generator.put(load, self.server.pid()).await);
    }

    fn per_second(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.done.per_second()))
    }

    /// The median of the rounds' ratios.
    fn ratio_to(&self, other: &Self) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(pairs.map(|(ours, theirs)| ours.done.per_second() / theirs.done.per_second()))
    }

    /// Latencies, and the load of both processes.
    fn note(&self) -> String {
        let of = |number: fn(&Measured) -> f64| median(self.rounds.iter().map(number));
        format!(
            "p50 {:.2} ms, p99 {:.2} ms; of one core, the server used {:.0} % and the load generator {:.0} %: {:.1} and {:.1} µs \
             per request",
            of(|round| round.done.p50) / 1e3,
            of(|round| round.done.p99) / 1e3,
            of(|round| round.server_share) * 100.0,
            of(|round| round.generator_share) * 100.0,
            of(|round| round.server_share / round.done.per_second()) * 1e6,
            of(|round| round.generator_share / round.done.per_second()) * 1e6,
        )
    }

    fn row(&self, bare: &Self) -> Row {
        let row = Row::of(self.what.clone(), value(self.per_second(), "pings/s"));
        row.against(value(bare.per_second(), "requests/s"), self.ratio_to(bare)).note(self.note())
    }
}

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Run one server at a time, so that they do not disturb each other.
    let redis = [FEW, MANY].map(|_| machine::has_program("redis-server").then(RedisServer::start));
    let redis: Vec<_> = redis.into_iter().flatten().collect();
    let mut generator = Generator::start();
    let mut bare = Contestant::bare().await;
    let mut all = Vec::new();
    for (sandboxes, pinged) in [(FEW, FEW), (10_000, FEW), (MANY, FEW), (MANY, MANY)] {
        all.push(Contestant::sandglass("no store", Place::Nowhere, sandboxes, pinged).await);
    }
    for (number, (sandboxes, pinged)) in [(FEW, FEW), (MANY, FEW), (MANY, MANY)].into_iter().enumerate() {
        let file = directory.path().join(format!("{number}.redb"));
        all.push(Contestant::sandglass("embedded store", Place::File(file), sandboxes, pinged).await);
    }
    for (server, pinged) in redis.iter().zip([FEW, MANY]) {
        all.push(Contestant::sandglass("Redis", Place::Redis(server.url()), MANY, pinged).await);
    }
    let seconds = pace.pick(2.0, 0.3);
    // The first round warms up.
    for round in 0..=pace.pick(9, 1) {
        bare.round(&mut generator, Kind::Ping, CONNECTIONS, seconds).await;
        for contestant in &mut all {
            contestant.round(&mut generator, Kind::Ping, CONNECTIONS, seconds).await;
        }
        if round == 0 {
            std::iter::once(&mut bare).chain(&mut all).for_each(|contestant| contestant.rounds.clear());
        }
    }
    let mut rows = vec![Row::of("a bare handler", value(bare.per_second(), "requests/s")).note(bare.note())];
    for contestant in &all {
        let row = contestant.row(&bare);
        rows.push(if contestant.judged { row.at_least(0.8) } else { row });
    }
    for (few, many) in [(0, 2), (0, 3), (4, 5)] {
        let (few, many) = (&all[few], &all[many]);
        let flat = Row::of(format!("{} against {}", many.what, few.what), value(many.per_second(), "pings/s"));
        rows.push(flat.against(value(few.per_second(), "pings/s"), many.ratio_to(few)).at_least(0.95));
    }
    if redis.is_empty() {
        rows.push(Row::left_out("pings with Redis", "redis-server is not installed"));
    }
    rows
}

/// Pings over websockets, compared with HTTP.
pub(crate) async fn measure_websockets(pace: Pace) -> Vec<Row> {
    let mut generator = Generator::start();
    let mut http = Contestant::sandglass("no store", Place::Nowhere, MANY, FEW).await;
    let mut websocket = Contestant::sandglass("no store", Place::Nowhere, MANY, FEW).await;
    for _ in 0..pace.pick(7, 1) {
        http.round(&mut generator, Kind::Ping, CONNECTIONS, pace.pick(2.0, 0.3)).await;
        websocket.round(&mut generator, Kind::Websocket, CONNECTIONS, pace.pick(2.0, 0.3)).await;
    }
    let row = Row::of(format!("websocket {}", websocket.what), value(websocket.per_second(), "pings/s"));
    let row = row.against(value(http.per_second(), "pings/s"), websocket.ratio_to(&http));
    vec![row.note(format!("against the same over HTTP; {}", websocket.note()))]
}

/// Pings of a thousand sandboxes per request.
pub(crate) async fn measure_batches(pace: Pace) -> Vec<Row> {
    const BATCH: usize = 1000;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut generator = Generator::start();
    let mut all = Vec::new();
    for (store, place, sandboxes) in [
        ("no store", Place::Nowhere, FEW),
        ("no store", Place::Nowhere, MANY),
        ("embedded store", Place::File(directory.path().join("batches.redb")), MANY),
    ] {
        all.push(Contestant::sandglass(store, place, sandboxes, sandboxes).await);
    }
    for _ in 0..pace.pick(7, 1) {
        for contestant in &mut all {
            contestant.round(&mut generator, Kind::Batch(BATCH), 4, pace.pick(1.5, 0.3)).await;
        }
    }
    let rows = all.iter().map(|contestant| {
        let what = format!("batch {}", contestant.what);
        let row = Row::of(what, value(contestant.per_second() * BATCH as f64, "pings/s"));
        row.note(format!("{BATCH} pings per request; {}", contestant.note()))
    });
    rows.collect()
}
