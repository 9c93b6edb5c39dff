//! The cost of unused sandboxes.

use std::time::Duration;

use crate::{
    child::Helper,
    figures::Pace,
    machine,
    planted::Crop,
    roles::server::{Place, Ready, Setup},
    table::{Row, value},
};

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let count = pace.pick(100_000, 5_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = Place::File(directory.path().join("idle.redb"));
    let mut server = Helper::start("server", &Setup { place, crop: Crop::quiet(count), plant: true });
    let ready: Ready = server.hear().await;
    assert_eq!(ready.sandboxes, count, "all are back");
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Two sweeps, which check each sandbox.
    let whole = Duration::from_secs(pace.pick(60, 3));
    let before = machine::processor_time(server.pid());
    tokio::time::sleep(whole).await;
    let busy = machine::processor_time(server.pid()).saturating_sub(before);
    let share = busy.as_secs_f64() / whole.as_secs_f64() * 100.0;
    let note = format!("over {} s, the backstop's sweeps included", whole.as_secs());
    vec![Row::of(format!("{count} silent sandboxes keep busy"), value(share, "% of a core")).note(note)]
}
