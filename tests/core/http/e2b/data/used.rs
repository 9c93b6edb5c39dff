//! What counts as use.

use std::time::Duration;

use bytes::BytesMut;
use sandglass::domain::ActivitySource;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{AGENT, Frames, Inside, Port, framed, shell};

#[actix_web::test]
async fn every_request_is_use_and_why_says_by_what() {
    let inside = Inside::start(&[], json!({})).await;
    inside.shell("true").await;
    inside.get(AGENT, "/files?path=/etc/hostname").send().await.expect("an answer");
    let port = Port::open().await;
    let answered = tokio::spawn(inside.get(port.number, "/").send());
    let (mut visitor, _) = port.request().await;
    visitor.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(answered.await.expect("no panic").expect("an answer").status(), 204);
    for source in [ActivitySource::Command, ActivitySource::File, ActivitySource::Traffic] {
        assert_eq!(inside.uses(source).await, 1, "{source}");
    }
    let why =
        inside.client.get(inside.url(&format!("/v1/sandboxes/{}/why", inside.id))).send().await.expect("an answer");
    let why: Value = serde_json::from_str(&why.text().await.expect("a body")).expect("JSON");
    assert!(why.to_string().contains(r#""source":"traffic""#), "{why}");
    inside.end().await;
}

#[actix_web::test]
async fn bytes_that_move_are_use_and_a_silent_stream_is_not() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    let answered = tokio::spawn(inside.get(port.number, "/").send());
    let (mut visitor, _) = port.request().await;
    visitor.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n").await;
    let mut answer = answered.await.expect("no panic").expect("an answer");
    answer.chunk().await.expect("a part");
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(inside.uses(ActivitySource::Traffic).await, 1, "it was silent");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        visitor.answer("1\r\nx\r\n").await;
        answer.chunk().await.expect("a part");
        sleep(Duration::from_millis(20)).await;
    }
    let uses = inside.uses(ActivitySource::Traffic).await;
    assert!((2..=3).contains(&uses), "{uses} uses in 1.5 s");
    inside.end().await;
}

#[actix_web::test]
async fn keepalives_are_no_use() {
    let inside = Inside::start(&[], json!({})).await;
    for (call, message) in [
        ("/process.Process/Start", shell("sleep 1000")),
        ("/filesystem.Filesystem/WatchDir", json!({ "path": "/etc" })),
    ] {
        let request = inside.at(AGENT, reqwest::Method::POST, call).header("Keepalive-Ping-Interval", "1");
        let request = request.header("Content-Type", "application/connect+json").body(framed(&message));
        let mut frames = Frames { answer: request.send().await.expect("an answer"), buffer: BytesMut::new() };
        let mut heard = 0;
        while heard < 2 {
            let message = frames.next().await.expect("a frame").expect("a message");
            heard += usize::from(message["event"]["keepalive"].is_object() || message["keepalive"].is_object());
        }
    }
    for source in [ActivitySource::Command, ActivitySource::File] {
        assert_eq!(inside.uses(source).await, 1, "{source}");
    }
    inside.end().await;
}
