//! Restoring sandboxes after a restart, compared with only reading the same records.

use crate::{
    child::Helper,
    figures::Pace,
    load::median,
    machine,
    planted::{Crop, Planter},
    redis::RedisServer,
    roles::server::{self, Place, Ready, Setup},
    table::{Row, value},
};

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut rows = Vec::new();
    if machine::has_program("redis-server") {
        let redis = RedisServer::start();
        rows.push(from("Redis", Place::Redis(redis.url()), pace).await.at_most(1.5));
    } else {
        rows.push(Row::left_out("sandboxes brought back from Redis", "redis-server is not installed"));
    }
    // Without a goal, since only reading a file takes next to no time.
    rows.push(from("the embedded file", Place::File(directory.path().join("back.redb")), pace).await);
    rows
}

async fn from(name: &str, place: Place, pace: Pace) -> Row {
    let crop = Crop::quiet(pace.pick(100_000, 5_000));
    let store = server::open(&place).expect("a store that keeps something");
    server::plant(&*store, &Planter::new(crop)).await;
    drop(store);
    let mut rounds = Vec::new();
    for _ in 0..pace.pick(7, 1) {
        let mut reader = Helper::start("reader", &place);
        let (read, alone): (usize, f64) = reader.hear().await;
        reader.end().await;
        let mut server = Helper::start("server", &Setup { place: place.clone(), crop, plant: false });
        let ready: Ready = server.hear().await;
        let busy = machine::processor_time(server.pid()).as_secs_f64();
        assert_eq!((read, ready.sandboxes), (crop.count, crop.count), "both read all");
        server.end().await;
        rounds.push((ready.seconds, alone, busy));
    }
    let ratio = median(rounds.iter().map(|(ours, alone, _)| ours / alone));
    let [ours, alone, busy] = [
        median(rounds.iter().map(|(ours, ..)| *ours)),
        median(rounds.iter().map(|(_, alone, _)| *alone)),
        median(rounds.iter().map(|(.., busy)| *busy)),
    ];
    let row = Row::of(format!("{} sandboxes brought back from {name}", crop.count), value(ours, "s"));
    let note = format!("against reading the same records alone; Sandglass used {busy:.2} s of processor time");
    row.against(value(alone, "s"), ratio).note(note)
}
