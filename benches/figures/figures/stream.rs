//! What watchers cost pings, and whether watchers that never read cost those that do.

use std::time::Duration;

use crate::{
    child::Helper,
    figures::Pace,
    load::{Generator, Kind, Load, Measured, median},
    machine,
    planted::Crop,
    roles::{
        server::{Place, Ready, Setup},
        watchers::{self, Seen},
    },
    table::{Row, value},
};

const SANDBOXES: usize = 20;
const SILENT: usize = 10;

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let watchers = pace.pick(1000, 50);
    let start =
        || Helper::start("server", &Setup { place: Place::Nowhere, crop: Crop::quiet(SANDBOXES), plant: false });
    let (mut watched, mut alone) = (start(), start());
    let (on_watched, on_alone): (Ready, Ready) = (watched.hear().await, alone.hear().await);
    let mut generator = Generator::start();
    let before = machine::resident(watched.pid());
    let setup = watchers::Setup { port: on_watched.port, readers: watchers - SILENT, silent: SILENT };
    let mut crowd = Helper::start("watchers", &setup);
    let readers: usize = crowd.hear().await;
    let load = |port, rate| Load {
        port,
        kind: Kind::Ping,
        sandboxes: SANDBOXES,
        connections: 64,
        seconds: pace.pick(3.0, 0.5),
        rate,
    };
    let mut rounds: Vec<(Measured, Measured)> = Vec::new();
    for _ in 0..pace.pick(7, 1) {
        let ours = generator.put(load(on_watched.port, None), watched.pid()).await;
        rounds.push((ours, generator.put(load(on_alone.port, None), alone.pid()).await));
    }
    // A load that leaves room for the watchers.
    let calm = 1000.0;
    for _ in 0..pace.pick(5, 1) {
        generator.put(load(on_watched.port, Some(calm)), watched.pid()).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen: Seen = crowd.ask(&()).await;
    let memory = (machine::resident(watched.pid()) - before) / watchers as f64 / 1024.0;

    let per_second =
        |side: fn(&(Measured, Measured)) -> Measured| median(rounds.iter().map(|it| side(it).done.per_second()));
    let (with, without) = (per_second(|round| round.0), per_second(|round| round.1));
    let ratio = median(rounds.iter().map(|(with, without)| with.done.per_second() / without.done.per_second()));
    let share = median(rounds.iter().map(|(with, _)| with.server_share)) * 100.0;
    let missed = seen.gaps as f64 + (seen.most - seen.least) as f64;
    let note = format!(
        "{} events to {readers} readers, the last of them with the number {}; {SILENT} watchers never read",
        seen.events, seen.most
    );
    vec![
        Row::of(format!("events that {readers} readers missed"), value(missed, "events")).at_most(0.0).note(note),
        Row::of(format!("pings with {watchers} watchers, against without"), value(with, "pings/s"))
            .against(value(without, "pings/s"), ratio)
            .note(format!("of one core, the server used {share:.0} %; the watchers' own process shares the machine")),
        Row::of("memory of a watcher", value(memory, "KiB")),
    ]
}
