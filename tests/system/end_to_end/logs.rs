//! A log that cannot be written, or is not read, loses lines and does no other harm (`design::security::logs`).

use std::{
    io::Read,
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{SLACK, STOP_GRACE, directory};
use crate::support::{
    docker::Corner,
    program::{Program, command},
};

/// Longer than a busy machine may take for a ping.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full").into()
}

/// Expects that a sandbox lives while it is pinged and then ends, and that the program stops cleanly.
async fn must_work(mut program: Program, corner: &Corner) {
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id, "idle_timeout": IDLE_TIMEOUT.as_secs()})).await;
    let until = Instant::now() + IDLE_TIMEOUT + Duration::from_secs(1);
    while Instant::now() < until {
        let ping = program.post(&format!("/v1/sandboxes/{id}/activity"), &Value::Null).await;
        assert_eq!(ping.status, 200, "{}", ping.body);
        sleep(Duration::from_millis(500)).await;
    }
    let ended = program.until(id, "terminated", IDLE_TIMEOUT + STOP_GRACE + SLACK).await;
    assert_eq!(ended["reason"], "idle");
    let ready = program.get("/readyz").await;
    assert_eq!((ready.status, &ready.body["status"]), (200, &json!("ready")), "{}", ready.body);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended(Duration::from_secs(20)).await.code(), Some(0));
}

#[tokio::test]
async fn a_log_that_cannot_be_written_costs_nothing_else() {
    let (directory, corner) = (directory(), Corner::new().await);
    let arguments = ["--prefix", corner.prefix.as_str(), "--set", "log.level=trace"];
    let program = Program::serve_telling(full(), directory.path(), &arguments).await;
    must_work(program, &corner).await;
}

#[tokio::test]
async fn a_reader_of_the_log_that_goes_away_takes_nothing_along() {
    let (directory, corner) = (directory(), Corner::new().await);
    let arguments = ["--prefix", corner.prefix.as_str(), "--set", "log.level=trace"];
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let program = Program::serve_telling(writer.into(), directory.path(), &arguments).await;
    reader.read_exact(&mut [0; 16]).expect("it logs");
    drop(reader);
    must_work(program, &corner).await;
}

#[tokio::test]
async fn a_reader_of_the_log_that_does_not_read_keeps_nobody_waiting() {
    let (directory, corner) = (directory(), Corner::new().await);
    let arguments = ["--prefix", corner.prefix.as_str(), "--set", "log.level=trace"];
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let program = Program::serve_telling(writer.into(), directory.path(), &arguments).await;
    // More than a pipe holds.
    for _ in 0..1_000 {
        program.get("/v1/sandboxes/nobody").await;
    }
    must_work(program, &corner).await;
}

#[test]
fn what_a_command_ends_with_does_not_depend_on_who_can_read_it() {
    let directory = directory();
    let code = |arguments: &[&str], out: Stdio| {
        let mut command: Command = command(arguments);
        let status = command.current_dir(directory.path()).stdout(out).stderr(full()).status();
        status.expect("it runs").code()
    };
    assert_eq!(code(&["serve", "--set", "a.b=c"], Stdio::null()), Some(2));
    assert_eq!(code(&["no-such-command"], Stdio::null()), Some(2));
    assert_eq!(code(&["serve", "--bind", "192.0.2.1:1", "--set", "http.api_key=k"], Stdio::null()), Some(1));
    // Output that cannot be written is a failure, unless the reader has closed it.
    assert_eq!(code(&["serve", "--manual"], full()), Some(1));
    assert_eq!(code(&["drill", "--list"], full()), Some(1));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(code(&["serve", "--manual"], writer.into()), Some(0));
}
