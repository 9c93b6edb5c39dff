//! The time from deadlines to the decisions about them.

use crate::{
    child::Helper,
    figures::Pace,
    load::quantile,
    planted::Crop,
    roles::server::{Place, PunctualityAnswer, Question, Ready, Setup},
    table::{Row, value},
};

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let mut rows = Vec::new();
    for (count, spread) in [(100_000, 10.0), (10_000, 1.0)] {
        let count = if pace.quick { count / 20 } else { count };
        // The first is due after all are restored, when the machine is idle.
        let crop = Crop { count, first: pace.pick(6.0, 2.0), spread: if pace.quick { 1.0 } else { spread } };
        let mut server = Helper::start("server", &Setup { place: Place::Nowhere, crop, plant: false });
        let ready: Ready = server.hear().await;
        assert!(ready.sandboxes == count && ready.seconds < crop.first, "all are back in time: {ready:?}");
        let PunctualityAnswer { lateness, early } = server.ask(&Question::Punctuality).await;
        let what = format!("lateness of {count} deadlines within {} s", crop.spread);
        let at = |share| value(quantile(&lateness, share), "ms");
        assert_eq!(lateness.len(), count, "all ended by their deadlines");
        let note = format!("p50 {:.2} ms, p99.9 {:.2} ms", quantile(&lateness, 0.5), quantile(&lateness, 0.999));
        rows.push(Row::of(format!("{what}, p99"), at(0.99)).at_most(10.0).note(note));
        rows.push(Row::of(format!("{what}, the latest"), at(1.0)).at_most(50.0));
        rows.push(Row::of(format!("{what}, early"), value(early as f64, "ends")).at_most(0.0));
    }
    rows
}
