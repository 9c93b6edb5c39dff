//! The time from the program's start until it is ready, and its size.

use crate::{
    figures::Pace,
    load::median,
    program::{PATH, Program},
    table::{Row, value},
};

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let mut times = Vec::new();
    for round in 0..pace.pick(15, 2) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let prefix = format!("figures-{}-{round}", std::process::id());
        let mut program = Program::start(directory.path(), &["--prefix", &prefix]).await;
        times.push(program.took.as_secs_f64() * 1e3);
        program.child.kill().await.expect("it runs");
    }
    let slowest = times.iter().copied().fold(0.0, f64::max);
    let size = std::fs::metadata(PATH).expect("it was built").len() as f64;
    vec![
        Row::of("from start to ready, empty embedded store", value(median(times), "ms"))
            .at_most(100.0)
            .note(format!("the slowest start took {slowest:.0} ms")),
        Row::of("size of the program", value(size / 1e6, "MB")),
    ]
}
