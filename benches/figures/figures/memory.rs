//! Memory per live sandbox beyond the texts of its record.

use crate::{
    child::Helper,
    figures::Pace,
    machine,
    planted::{Crop, Planter},
    roles::server::{Place, Ready, Setup},
    table::{Row, value},
};

const KIBI: f64 = 1024.0;

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let (empty, _) = resident(0).await;
    let mut rows = Vec::new();
    for count in pace.pick([10_000, 100_000, 1_000_000].as_slice(), [10_000].as_slice()) {
        let crop = Crop::quiet(*count);
        let (all, seconds) = resident(*count).await;
        let each = (all - empty) / *count as f64;
        let texts = Planter::new(crop).texts(*count / 2) as f64;
        let note = format!(
            "{:.2} KiB with {texts} bytes of its own texts; brought back in {seconds:.1} s, making the records included",
            each / KIBI
        );
        let row = Row::of(format!("memory of each of {count} sandboxes"), value((each - texts) / KIBI, "KiB"));
        rows.push(row.at_most(1.5).note(note));
        if *count == 1_000_000 {
            let row = Row::of(format!("memory of {count} sandboxes"), value(all / KIBI.powi(3), "GiB"));
            rows.push(row.at_most(2.0));
        }
    }
    rows
}

/// The resident memory with so many sandboxes, and how long it took to bring them back.
async fn resident(count: usize) -> (f64, f64) {
    let crop = Crop { count, ..Crop::quiet(count) };
    let mut server = Helper::start("server", &Setup { place: Place::Nowhere, crop, plant: false });
    let ready: Ready = server.hear().await;
    assert_eq!(ready.sandboxes, count, "all are back");
    // By then the memory of the last page is freed, and every actor has started.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    (machine::resident(server.pid()), ready.seconds)
}
