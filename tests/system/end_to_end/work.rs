//! Commands, files and logs, through the real binary and its command line.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{directory, number, on_a_file};
use crate::support::{docker::Corner, program::Program, program::command};

/// Runs `sandglass` as a client of `program`, with this standard input.
pub(super) async fn client(program: &Program, arguments: &[&str], input: &[u8]) -> Output {
    let mut command: Command = command(arguments);
    command.env("SANDGLASS_URL", program.url()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_vec();
    let run = move || {
        let mut child = command.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("it has one");
        let feeding = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("it ends");
        let _ = feeding.join();
        output
    };
    tokio::task::spawn_blocking(run).await.expect("it is waited for")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_command_ends_as_it_would_by_docker_exec() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let exec = async |arguments: &[&str], input: &[u8]| client(&program, &[&["exec"], arguments].concat(), input).await;

    let ran = exec(&[id, "--", "sh", "-c", "echo out; echo err >&2; exit 7"], b"").await;
    assert_eq!((ran.status.code(), text(&ran.stdout), text(&ran.stderr)), (Some(7), "out\n".into(), "err\n".into()));
    let ran = exec(&[id, "no-such-program"], b"").await;
    assert_eq!(ran.status.code(), Some(127), "{}", text(&ran.stderr));
    let ran = exec(&[id, "/etc/passwd"], b"").await;
    assert_eq!(ran.status.code(), Some(126), "{}", text(&ran.stderr));
    let ran = exec(&[id, "sh", "-c", "kill -9 $$"], b"").await;
    assert_eq!(ran.status.code(), Some(137));
    let ran = exec(&["no-such-sandbox", "true"], b"").await;
    assert_eq!(ran.status.code(), Some(125));
    assert!(text(&ran.stderr).contains("no sandbox"), "{}", text(&ran.stderr));
    // A megabyte of any bytes, in and out again.
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let ran = exec(&["-i", id, "cat"], &bytes).await;
    assert!(ran.status.success() && ran.stdout == bytes, "{} bytes came back: {}", ran.stdout.len(), text(&ran.stderr));
    // One that does not read its input ends all the same.
    let body = json!({"command": ["true"], "stdin": "x".repeat(200_000)});
    let ran = program.post(&format!("/v1/sandboxes/{id}/commands"), &body).await;
    assert_eq!((ran.status, &ran.body["exit_code"]), (200, &json!(0)), "{}", ran.body);
    let ran = exec(&["-e", "GREETING=hello", "-w", "/tmp", id, "sh", "-c", "echo $GREETING; pwd"], b"").await;
    assert_eq!(text(&ran.stdout), "hello\n/tmp\n");
    let began = Instant::now();
    let ran = exec(&["--timeout", "1", id, "sleep", "60"], b"").await;
    assert_eq!(ran.status.code(), Some(143), "{}", text(&ran.stderr));
    assert!(text(&ran.stderr).contains("timeout") && began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn files_and_directories_come_back_as_they_went_in() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let here = directory.path().join("tree");
    std::fs::create_dir_all(here.join("deep/er")).expect("a directory");
    let big: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    std::fs::write(here.join("big"), &big).expect("a file");
    std::fs::write(here.join("deep/er/script"), "#!/bin/sh\n").expect("a file");
    std::os::unix::fs::symlink("deep/er/script", here.join("link")).expect("a link");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o750);
    std::fs::set_permissions(here.join("deep/er/script"), mode).expect("a mode");

    let copy = async |from: &str, to: &str| client(&program, &["cp", from, to], b"").await;
    let there = format!("{id}:/tmp/copy");
    let went = copy(&here.display().to_string(), &there).await;
    assert!(went.status.success(), "{}", text(&went.stderr));
    let back = directory.path().join("back");
    let came = copy(&there, &back.display().to_string()).await;
    assert!(came.status.success(), "{}", text(&came.stderr));
    assert_eq!(std::fs::read(back.join("big")).expect("the file"), big);
    assert_eq!(std::fs::read_link(back.join("link")).expect("the link").display().to_string(), "deep/er/script");
    let metadata = std::fs::metadata(back.join("deep/er/script")).expect("the script");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o750);
    // A file into a directory keeps its name; a missing path is an error.
    let one = directory.path().join("one");
    std::fs::write(&one, "1").expect("a file");
    assert!(copy(&one.display().to_string(), &format!("{id}:/tmp/")).await.status.success());
    let listed = program.get(&format!("/v1/sandboxes/{id}/files?path=/tmp&list")).await.body;
    let names: Vec<_> = listed["entries"].as_array().expect("entries").iter().map(|entry| &entry["name"]).collect();
    assert_eq!(names, ["copy", "one"], "{listed}");
    let missing = copy(&format!("{id}:/nothing"), &directory.path().display().to_string()).await;
    assert!(!missing.status.success() && text(&missing.stderr).contains("no such file"), "{}", text(&missing.stderr));
}

#[tokio::test]
async fn a_command_survives_the_death_of_sandglass_holds_its_sandbox_and_tells_its_end_and_all_it_wrote() {
    let (directory, corner) = (directory(), Corner::new().await);
    let settings = ["--set", "lifecycle.restart_grace=0"];
    let program = on_a_file(&directory, &corner, &settings).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id, "idle_timeout": 2})).await;
    let line = "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 1; done; exit 3";
    let begun =
        program.post(&format!("/v1/sandboxes/{id}/commands"), &json!({"shell": line, "background": true})).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let command = begun.body["command_id"].as_str().expect("an id").to_owned();
    let held = program.get(&format!("/v1/sandboxes/{id}")).await.body;
    assert_eq!(held["holds"][0]["reason"], line, "{held}");
    sleep(Duration::from_secs(2)).await;
    program.kill().await;
    let program = on_a_file(&directory, &corner, &settings).await;
    // Four idle timeouts later it lives, since the command does.
    sleep(Duration::from_secs(3)).await;
    let alive = program.get(&format!("/v1/sandboxes/{id}")).await.body;
    assert_eq!((&alive["status"], alive["holds"].is_array()), (&json!("running"), true), "{alive}");
    let path = format!("/v1/sandboxes/{id}/commands/{command}");
    let ended = until(Duration::from_secs(20), async || {
        let seen = program.get(&path).await.body;
        (seen["status"] != "running").then_some(seen)
    })
    .await;
    assert_eq!((&ended["status"], &ended["exit_code"]), (&json!("exited"), &json!(3)), "{ended}");
    assert_eq!(ended["stdout"].as_str().expect("text").lines().count(), 8, "{ended}");
    // Its hold is released, and the sandbox ends one idle timeout after the last use.
    let used = Instant::now();
    program.until(id, "terminated", Duration::from_secs(20)).await;
    assert!(used.elapsed() > Duration::from_millis(1500), "it ended early, after {:?}", used.elapsed());
    let gone = program.get(&path).await;
    assert_eq!((gone.status, &gone.body["error"]["code"]), (410, &json!("gone")), "{}", gone.body);
}

/// What `look` finds, as soon as it finds something.
async fn until<T>(within: Duration, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_is_paused_or_inactive_is_not_worked_in_unless_its_template_wakes_it() {
    let (directory, corner) = (directory(), Corner::new().await);
    let wakes = [
        "--set",
        "templates.wakes.image=busybox:stable",
        "--set",
        "templates.wakes.wake=true",
        "--set",
        "templates.wakes.command=[\"sleep\", \"infinity\"]",
    ];
    let program = on_a_file(&directory, &corner, &wakes).await;
    let run =
        async |id: &str| program.post(&format!("/v1/sandboxes/{id}/commands"), &json!({"command": ["true"]})).await;
    program.create(&json!({"id": "a"})).await;
    program.create(&json!({"id": "b", "template": "wakes"})).await;
    for id in ["a", "b"] {
        assert_eq!(run(id).await.status, 200);
        let paused = program.post(&format!("/v1/sandboxes/{id}/pause"), &Value::Null).await;
        assert_eq!(paused.status, 200, "{}", paused.body);
    }
    let refused = run("a").await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (409, &json!("paused")), "{}", refused.body);
    // All of those that come at once wait until it is awake.
    for woken in futures_util::future::join_all((0..5).map(|_| run("b"))).await {
        assert_eq!((woken.status, &woken.body["exit_code"]), (200, &json!(0)), "{}", woken.body);
    }
    assert_eq!(program.get("/v1/sandboxes/b").await.body["status"], "running");
    program.create(&json!({"id": "c", "timeout": 1})).await;
    sleep(Duration::from_millis(1200)).await;
    let before = number(&program.get("/v1/sandboxes/c").await.body["last_activity_at"]);
    let refused = run("c").await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (409, &json!("inactive")), "{}", refused.body);
    assert_eq!(number(&program.get("/v1/sandboxes/c").await.body["last_activity_at"]), before, "refused is no use");
}

#[tokio::test]
async fn logs_are_the_containers_own_output_and_stats_its_load() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id, "command": ["sh", "-c", "echo one; echo two >&2; echo three; sleep 1000"]})).await;
    let all = until(Duration::from_secs(10), async || {
        let logs = client(&program, &["logs", id], b"").await;
        text(&logs.stdout).contains("three").then(|| text(&logs.stdout))
    })
    .await;
    let mut lines: Vec<_> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "three", "two"]);
    let last = client(&program, &["logs", "--tail", "1", id], b"").await;
    assert_eq!(text(&last.stdout).lines().count(), 1);
    let stats = client(&program, &["stats", "--json", id], b"").await;
    let stats: Value = serde_json::from_slice(&stats.stdout).expect("JSON");
    assert!(number(&stats["memory_bytes"]) > 0.0 && number(&stats["pids"]) >= 1.0, "{stats}");
}

#[tokio::test]
async fn a_sandbox_that_ends_frees_its_commands_streams_at_once_and_their_end_is_not_invented() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let url = format!("{}/v1/sandboxes/{id}/commands", program.url());
    let body = json!({"command": ["sleep", "1000"]});
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            let request = reqwest::Client::new().post(&url).json(&body).send();
            tokio::spawn(async move { request.await.expect("an answer").json::<Value>().await.expect("JSON") })
        })
        .collect();
    until(Duration::from_secs(20), async || {
        let holds = program.get(&format!("/v1/sandboxes/{id}")).await.body["holds"].as_array().map_or(0, Vec::len);
        (holds == 40).then_some(())
    })
    .await;
    let began = Instant::now();
    assert_eq!(program.delete(&format!("/v1/sandboxes/{id}")).await.status, 202);
    for waiting in waiting {
        let answer = waiting.await.expect("it is done");
        // Those that were about to begin are refused.
        let refused = ["terminating", "gone"].iter().any(|code| answer["error"]["code"] == *code);
        assert!(refused || (answer["status"] == "lost" && answer["exit_code"].is_null()), "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "freed after {:?}", began.elapsed());
}
