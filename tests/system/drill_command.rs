//! `sandglass drill` as users run it: its output, its exit codes, and that it leaves nothing behind.

use std::{path::Path, process::Output, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::{docker::Corner, program::command};

/// How long a busy machine may take.
const WITHIN: Duration = Duration::from_secs(60);

fn run(directory: &TempDir, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = command(&["drill"]);
    command.args(arguments).env("TMPDIR", directory.path()).envs(environment.iter().copied());
    command.current_dir(directory).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).expect("readable").next().is_none()
}

#[test]
fn a_report_for_machines_is_json_and_nothing_else_and_needs_no_docker_where_the_drill_does_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = [("DOCKER_HOST", "unix:///nowhere/docker.sock")];
    let output = run(&directory, &nowhere, &["--quick", "--json", "--only", "races"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{report:#}\n{}", text(&output.stderr));
    let races = &report["drills"][0];
    assert_eq!((&report["holds"], &races["drill"], &races["holds"]), (&true.into(), &"races".into(), &true.into()));
    for count in ["early", "leaked", "lost"] {
        assert_eq!(races[count], 0, "{races}");
    }
    assert!(races["lateness"]["count"].as_u64() > Some(0) && races["lateness"]["p99_ms"].is_f64(), "{races}");
    assert!(is_empty(directory.path()), "files are left");
}

#[test]
fn what_keeps_it_from_beginning_is_said_in_a_sentence_with_exit_code_1() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = [("DOCKER_HOST", "unix:///nowhere/docker.sock")];
    let over_tls = [("DOCKER_HOST", "tcp://127.0.0.1:1"), ("DOCKER_TLS_VERIFY", "1")];
    let no_redis = ["--only", "crowd", "--redis-url", "redis://127.0.0.1:1"];
    for (environment, arguments, words) in [
        (&[][..], &["--only", "nonsense"][..], "there is no drill \"nonsense\"; there are races, "),
        (&nowhere, &["--only", "crowd"], "cannot drill on Docker at unix:///nowhere/docker.sock"),
        (&over_tls, &["--only", "crowd"], "does not speak TLS"),
        (&[], &["--only", "crowd", "--image", "no-such:image"], "docker pull no-such:image"),
        (&[], &no_redis, "the Redis does not answer"),
    ] {
        let output = run(&directory, environment, arguments);
        let (said, told) = (text(&output.stderr), text(&output.stdout));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}{told}");
        assert!(said.contains(words) && said.lines().count() == 1, "{arguments:?}: {said}");
        assert!(told.is_empty() && is_empty(directory.path()), "{arguments:?}: it has begun something: {told}");
    }
}

#[test]
fn a_drill_that_cannot_be_done_here_is_left_out_and_said_to_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = run(&directory, &[], &["--quick", "--only", "redis", "--only", "races"]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("left out: needs a Redis") && told.contains("1 left out"), "{told}");
    assert!(is_empty(directory.path()), "files are left");
}

#[test]
fn the_list_names_every_drill() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = run(&directory, &[], &["--list"]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for drill in sandglass::drill::DRILLS {
        assert!(told.lines().any(|line| line.starts_with(drill.name) && line.ends_with(drill.what)), "{told}");
    }
}

#[tokio::test]
async fn ctrl_c_in_the_middle_leaves_nothing() {
    let (directory, corner) = (tempfile::tempdir().expect("a directory"), Corner::new().await);
    let mut child = tokio::process::Command::from({
        let mut command = command(&["drill", "--only", "crowd"]);
        command.env("TMPDIR", directory.path()).current_dir(&directory);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    })
    .kill_on_drop(true)
    .spawn()
    .expect("it starts");
    // The drill's directory is named like the prefix of its containers.
    let deadline = Instant::now() + WITHIN;
    let prefix = loop {
        let entry = std::fs::read_dir(directory.path()).expect("readable").next();
        let prefix = entry.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        if let Some(prefix) = prefix.as_deref()
            && corner.containers_of_prefix(prefix).await.len() > 2
        {
            break prefix.to_owned();
        }
        assert!(Instant::now() < deadline, "it creates nothing");
        sleep(Duration::from_millis(20)).await;
    };
    let pid = i32::try_from(child.id().expect("it runs")).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("the signal is sent");
    let status = tokio::time::timeout(WITHIN, child.wait()).await.expect("it ends in time").expect("it ends");
    assert_eq!(status.code(), Some(1));
    assert_eq!(corner.containers_of_prefix(&prefix).await, Vec::<String>::new());
    assert!(is_empty(directory.path()), "files are left");
}
