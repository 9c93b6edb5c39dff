//! Work over HTTP that breaks off: clients that hang up, and logs that cannot be read.

use std::path::Path;

use reqwest::Client;
use sandglass::{
    ports::runtime::RuntimeError,
    runtime::{
        Memory,
        memory::{Point, When},
    },
};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use super::{
    bench::id,
    wire::{SOON, Wire},
};

const CREATE: &str = "POST /v1/sandboxes HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 13\r\n\r\n\
     {\"id\": \"one\"}";

/// Waits until a directory has these many entries.
async fn has(directory: &Path, entries: usize) {
    let deadline = Instant::now() + SOON;
    loop {
        let names: Vec<_> = directory.read_dir().expect("a directory").map(|entry| entry.map(|it| it.path())).collect();
        if names.len() == entries {
            return;
        }
        assert!(Instant::now() < deadline, "not {entries}: {names:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[actix_web::test]
async fn an_upload_whose_client_hangs_up_leaves_the_old_file_and_nothing_else() {
    let wire = Wire::over(Memory::new().with_agents(), 64, &[]).await;
    wire.exchange(CREATE).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    std::fs::write(&path, "old").expect("a file");
    let mut socket = wire.connect().await;
    let head = format!(
        "PUT /v1/sandboxes/one/files?path={} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n",
        path.display()
    );
    socket.send([head.as_bytes(), &[b'x'; 500_000]].concat()).await;
    // It is in the middle.
    has(directory.path(), 2).await;
    drop(socket);
    has(directory.path(), 1).await;
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "old");
    wire.stop().await;
}

/// The status and the body of the answer to a request for the logs.
async fn logs(wire: &Wire, sandbox: &str, accept: &str) -> (u16, String) {
    let url = format!("http://{}/v1/sandboxes/{sandbox}/logs", wire.address);
    let answer = Client::new().get(url).header("accept", accept).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

#[actix_web::test]
async fn logs_that_cannot_be_read_are_refused_with_the_reason() {
    let wire = Wire::start(64, &[]).await;
    let refused = async |sandbox: &str, accept: &str| {
        let (status, text) = logs(&wire, sandbox, accept).await;
        let body: Value = serde_json::from_str(&text).expect("JSON");
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let told = |status: u16, code: &str| (status, code.to_owned());
    wire.runtime.hang(Point::Create, When::Before);
    let mut socket = wire.connect().await;
    socket.send(CREATE).await;
    wire.until(&id("one"), "pending", |seen| seen["status"] == "pending").await;
    for accept in ["*/*", "text/event-stream"] {
        assert_eq!(refused("nonesuch", accept).await, told(404, "not_found"));
        assert_eq!(refused("one", accept).await, told(409, "wrong_state"), "it has no container yet");
    }
    wire.runtime.heal(Point::Create);
    wire.until(&id("one"), "running", |seen| seen["status"] == "running").await;
    for accept in ["*/*", "text/event-stream"] {
        let away = RuntimeError::Unreachable("no socket".to_owned());
        wire.runtime.fail_next(Point::Output, When::Before, 1, away);
        assert_eq!(refused("one", accept).await, told(503, "runtime_unavailable"));
        // The engine answers, and breaks off before the first line.
        wire.runtime.fail_next(Point::Output, When::After, 1, RuntimeError::Failed("no such driver".to_owned()));
        assert_eq!(refused("one", accept).await, told(502, "runtime_failed"));
    }
    wire.stop().await;
}

#[actix_web::test]
async fn a_log_that_breaks_off_in_the_middle_does_not_look_whole() {
    let wire = Wire::start(64, &[]).await;
    wire.exchange(CREATE).await;
    assert!(wire.runtime.write_output(&id("one"), "a line\n"));
    let breaks = || wire.runtime.fail_next(Point::Output, When::After, 1, RuntimeError::Failed("no disk".to_owned()));
    let get = "GET /v1/sandboxes/one/logs HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let last_chunk = "\r\n0\r\n\r\n";
    let whole = wire.exchange(get).await;
    assert!(whole.contains("a line\n") && whole.ends_with(last_chunk), "{whole}");
    breaks();
    let broken = wire.exchange(get).await;
    assert!(!broken.ends_with(last_chunk), "{broken}");
    breaks();
    let (status, text) = logs(&wire, "one", "text/event-stream").await;
    let (output, error) = text.split_once("\n\n").expect("two events");
    assert_eq!(status, 200);
    assert!(output.starts_with("event: output\n"), "{text}");
    assert!(error.starts_with("event: error\n") && error.contains("no disk"), "{text}");
    wire.stop().await;
}
