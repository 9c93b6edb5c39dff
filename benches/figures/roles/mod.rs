//! The roles of child processes of this program. Each gets its setup as its second argument, prints one
//! line when it is ready, answers each line of its standard input with one, and ends when that input ends.

mod bare;
mod generator;
mod reader;
pub(crate) mod server;
pub(crate) mod watchers;

use std::{io::BufRead, process::ExitCode, thread};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

/// Plays a role until the end.
pub(crate) fn play(role: &str, arguments: &[String]) -> ExitCode {
    let setup = arguments.first().map_or("null", String::as_str);
    match role {
        "bare" => sandglass::actor::run_system(bare::serve()).expect("a runtime"),
        "server" => sandglass::actor::run_system(server::serve(read(setup))).expect("a runtime"),
        "reader" => sandglass::actor::run_system(reader::run(setup)).expect("a runtime"),
        "watchers" => sandglass::actor::run_system(watchers::run(read(setup))).expect("a runtime"),
        "generator" => generator::run(),
        _ => panic!("there is no role {role:?}"),
    }
    ExitCode::SUCCESS
}

fn read<T: DeserializeOwned>(line: &str) -> T {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
}

/// Prints one line.
fn say(answer: &impl Serialize) {
    println!("{}", serde_json::to_string(answer).expect("an answer becomes JSON"));
}

/// The questions from the standard input, read by a thread; the channel closes when the input ends.
fn questions() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
