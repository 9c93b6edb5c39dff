//! Commands, files, watchers and terminals, through the agent.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{AGENT, Inside, base64, shell};
use crate::http::wire::SOON;

#[actix_web::test]
async fn a_command_tells_what_it_writes_and_how_it_ends() {
    let inside = Inside::start(&[], json!({})).await;
    let mut frames = inside.stream("process.Process/Start", shell("echo out; echo err >&2; exit 3")).await;
    let (mut out, mut err, mut end) = (Vec::new(), Vec::new(), Value::Null);
    while let Some(message) = frames.next().await.expect("a frame") {
        let event = &message["event"];
        out.extend(event["data"]["stdout"].as_str().map(base64).unwrap_or_default());
        err.extend(event["data"]["stderr"].as_str().map(base64).unwrap_or_default());
        if !event["end"].is_null() {
            end = event["end"].clone();
        }
    }
    assert_eq!((out.as_slice(), err.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((&end["exitCode"], &end["exited"]), (&json!(3), &json!(true)), "{end}");
    inside.end().await;
}

#[actix_web::test]
async fn input_signals_and_terminals_reach_a_command() {
    let inside = Inside::start(&[], json!({})).await;
    let mut start = shell("stty size; read line; echo got $line; sleep 1000");
    start["pty"] = json!({ "size": { "cols": 81, "rows": 25 } });
    let mut frames = inside.stream("process.Process/Start", start).await;
    let first = frames.next().await.expect("a frame").expect("a message");
    let pid = first["event"]["start"]["pid"].as_u64().expect("a pid");
    let process = json!({ "process": { "pid": pid } });
    let mut shown = String::new();
    let mut until = async |frames: &mut super::Frames, text: &str| {
        while !shown.contains(text) {
            let message = frames.next().await.expect("a frame").expect("a message");
            let data = message["event"]["data"]["pty"].as_str().map(base64).unwrap_or_default();
            shown.push_str(&String::from_utf8_lossy(&data));
        }
    };
    until(&mut frames, "25 81").await;
    let mut input = process.clone();
    input["input"] = json!({ "pty": "aGVsbG8K" });
    inside.call("process.Process/SendInput", input).await;
    until(&mut frames, "got hello").await;
    let mut signal = process.clone();
    signal["signal"] = json!("SIGNAL_SIGKILL");
    inside.call("process.Process/SendSignal", signal).await;
    while let Some(message) = frames.next().await.expect("a frame") {
        if !message["event"]["end"].is_null() {
            assert_eq!(message["event"]["end"]["status"], "signal: killed", "{message}");
        }
    }
    inside.end().await;
}

#[actix_web::test]
async fn a_file_of_any_size_comes_back_as_it_was_written() {
    // Larger than `http.max_body_bytes`.
    let inside = Inside::start(&[("http.max_body_bytes", "1024")], json!({})).await;
    let folder = tempfile::tempdir().expect("a directory of the test's own");
    let path = format!("/files?path={}/deep/file", folder.path().display());
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    let request = inside.at(AGENT, Method::POST, &path).header("Content-Type", "application/octet-stream");
    let written = request.body(content.clone()).send().await.expect("an answer");
    assert_eq!(written.status(), 200);
    let read = inside.get(AGENT, &path).send().await.expect("an answer");
    assert_eq!(read.content_length(), Some(3_000_000));
    assert!(read.bytes().await.expect("a body") == content);
    // Compressed bodies are passed on as they are.
    let packed = inside.get(AGENT, &path).header("Accept-Encoding", "gzip").send().await.expect("an answer");
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert!(packed.bytes().await.expect("a body").starts_with(&[0x1f, 0x8b]));
    let head = inside.at(AGENT, Method::HEAD, &path).send().await.expect("an answer");
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().ok()), (200, Some("3000000")));
    let missing = inside.get(AGENT, "/files?path=/no/such/file").send().await.expect("an answer");
    assert_eq!(missing.status(), 404);
    let told: Value = serde_json::from_str(&missing.text().await.expect("a body")).expect("JSON");
    assert_eq!(told["code"], 404, "{told}");
    inside.end().await;
}

#[actix_web::test]
async fn a_watcher_is_told_of_changes() {
    let inside = Inside::start(&[], json!({})).await;
    let folder = tempfile::tempdir().expect("a directory of the test's own");
    let mut frames = inside.stream("filesystem.Filesystem/WatchDir", json!({ "path": folder.path() })).await;
    let first = frames.next().await.expect("a frame").expect("a message");
    assert!(first["start"].is_object(), "{first}");
    let native = format!("/v1/sandboxes/{}/files/watch?path={}", inside.id, folder.path().display());
    let mut native = inside.client.get(inside.url(&native)).send().await.expect("an answer");
    let mut told = String::new();
    let mut until = async |text: &str| {
        let seen = async {
            while !told.contains(text) {
                let part = native.chunk().await.expect("a part").expect("no end");
                told.push_str(std::str::from_utf8(&part).expect("text"));
            }
        };
        timeout(SOON, seen).await.expect("it is told");
    };
    until(": watching").await;
    std::fs::write(folder.path().join("new"), "x").expect("it is written");
    let event = frames.next().await.expect("a frame").expect("a message");
    assert_eq!(event["filesystem"]["name"], "new", "{event}");
    until("event: created\ndata: {\"path\":\"new\"}\n").await;
    inside.end().await;
}

#[actix_web::test]
async fn who_asks_for_health_learns_whether_it_is_alive() {
    let inside = Inside::start(&[], json!({})).await;
    assert_eq!(inside.get(AGENT, "/health").send().await.expect("an answer").status(), 204);
    // Calls that are the control plane's at E2B cannot be made from outside.
    let init = inside.at(AGENT, Method::POST, "/init").body("{}").send().await.expect("an answer");
    assert_eq!(init.status(), 404);
    inside.end().await;
}
