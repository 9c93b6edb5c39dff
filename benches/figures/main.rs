//! The figures of section 10 of the design, each measured in one run with what it is compared with.
//!
//! ```sh
//! cargo bench --bench figures                  # all of them, as `make bench` does
//! cargo bench --bench figures -- pings memory  # some
//! cargo bench --bench figures -- --quick       # all of them, too short to be believed
//! ```
//!
//! Servers and the load generator are separate processes, so that the processor time of each is known. The two sides of a
//! comparison are measured alternately, and the median of the rounds counts: on a shared machine, only ratios are
//! reliable. The table goes to the standard output, and as JSON to `target/figures.json`.

mod child;
mod engine;
mod figures;
mod load;
mod machine;
mod planted;
mod program;
mod roles;
mod store;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;

use std::{path::Path, process::ExitCode};

use figures::{FIGURES, Figure, Pace};
use support::{docker, redis};

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = arguments.first().and_then(|first| first.strip_prefix("--role=")) {
        return roles::play(role, &arguments[1..]);
    }
    let names: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = names.iter().find(|name| FIGURES.iter().all(|figure| figure.name != name.as_str())) {
        let known: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
        eprintln!("there is no figure {unknown:?}, only {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    // Cargo adds `--bench`.
    let pace = Pace { quick: arguments.iter().any(|argument| argument == "--quick") };
    let chosen = FIGURES.iter().filter(|figure| names.is_empty() || names.iter().any(|name| *name == figure.name));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::select! {
            code = measure(chosen, pace) => code,
            // Dropping the figure ends everything that it started.
            _ = tokio::signal::ctrl_c() => ExitCode::FAILURE,
        }
    })
}

async fn measure(chosen: impl Iterator<Item = &Figure>, pace: Pace) -> ExitCode {
    let mut table = table::Table::new(machine::describe(), pace.quick);
    for figure in chosen {
        eprintln!("measuring {} …", figure.name);
        let rows = (figure.measure)(pace).await;
        for row in rows {
            eprintln!("  {}", row.line());
            table.add(figure.name, row);
        }
    }
    println!("{}", table.markdown());
    // The target directory.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target directory");
    let file = target.join("figures.json");
    std::fs::write(&file, table.json()).expect("the target directory can be written to");
    println!("As JSON: {}", file.display());
    if table.missed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
