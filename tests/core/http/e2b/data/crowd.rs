//! Far more connections to the inside than may be open.

use std::time::Duration;

use sandglass::domain::ActivitySource;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep, timeout},
};

use super::{AGENT, Inside, Port};
use crate::http::wire::{SOON, Socket};

/// How many connections may be open, half of them to the inside.
const CONNECTIONS: usize = 160;
const CROWD: usize = 400;

/// The refusals that have come.
async fn refused(sockets: &mut [Socket]) -> Vec<String> {
    let mut answers = Vec::new();
    for socket in sockets {
        let mut buffer = vec![0; 4096];
        if let Ok(Ok(read)) = timeout(Duration::ZERO, socket.0.read(&mut buffer)).await {
            let answer = String::from_utf8_lossy(&buffer[..read]).into_owned();
            answers.extend(answer.starts_with("HTTP/1.1 429 ").then_some(answer));
        }
    }
    answers
}

/// Sends this over a connection each, and waits until all but those that are occupied are refused. What they were told.
async fn crowd(inside: &Inside, requests: impl Iterator<Item = String>) -> (Vec<Socket>, Vec<String>) {
    let mut sockets = Vec::new();
    for request in requests {
        let mut socket = inside.wire.connect().await;
        socket.send(request).await;
        sockets.push(socket);
    }
    let (deadline, mut refusals) = (Instant::now() + SOON, Vec::new());
    while refusals.len() < CROWD - CONNECTIONS / 2 {
        assert!(Instant::now() < deadline, "only {} were refused", refusals.len());
        refusals.extend(refused(&mut sockets).await);
        sleep(Duration::from_millis(20)).await;
    }
    (sockets, refusals)
}

/// Pings over new connections go on.
async fn must_be_pinged(inside: &Inside) {
    let ping =
        format!("POST /v1/sandboxes/{}/activity HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", inside.id);
    for _ in 0..20 {
        let answer = inside.wire.exchange(&ping).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(inside.uses(ActivitySource::Ping).await, 20);
}

fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[actix_web::test]
async fn a_busy_port_leaves_connections_for_pings() {
    let inside = Inside::among(CONNECTIONS, &[], json!({})).await;
    let port = Port::open().await;
    let (listener, number) = (port.listener, port.number);
    let serving = tokio::spawn(async move {
        let mut visitors = Vec::new();
        loop {
            visitors.push(listener.accept().await.expect("a connection"));
        }
    });
    let head = format!("Host: 127.0.0.1\r\nE2b-Sandbox-Id: {}\r\nE2b-Sandbox-Port: {number}\r\n", inside.id);
    // Nobody ever answers these, the websockets among them.
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let requests = (0..CROWD).map(|turn| {
        let more = if turn.is_multiple_of(2) { upgrade } else { "" };
        format!("GET / HTTP/1.1\r\n{head}{more}\r\n")
    });
    let (sockets, refusals) = crowd(&inside, requests).await;
    must_be_pinged(&inside).await;
    for refusal in &refusals {
        assert!(refusal.contains("\r\nretry-after: "), "{refusal}");
        let body = body(refusal);
        assert_eq!((&body["code"], &body["sandboxId"]), (&json!(429), &json!(inside.id.as_str())), "{body}");
        assert!(body["message"].as_str().is_some_and(|message| message.contains("the limit of open files")), "{body}");
    }
    // Those that are gone make room.
    drop(sockets);
    let deadline = Instant::now() + SOON;
    while inside.get(AGENT, "/health").send().await.expect("an answer").status() == 429 {
        assert!(Instant::now() < deadline, "those that are gone occupy nothing");
        sleep(Duration::from_millis(20)).await;
    }
    serving.abort();
    inside.end().await;
}

#[actix_web::test]
async fn long_commands_leave_connections_for_pings() {
    let inside = Inside::among(CONNECTIONS, &[], json!({})).await;
    let command = r#"{"command": ["sleep", "1000"]}"#;
    let run = |turn: usize| {
        let accept = if turn.is_multiple_of(2) { "Accept: text/event-stream\r\n" } else { "" };
        format!(
            "POST /v1/sandboxes/{}/commands HTTP/1.1\r\nHost: 127.0.0.1\r\n{accept}Content-Length: {}\r\n\r\n{command}",
            inside.id,
            command.len()
        )
    };
    let (sockets, refusals) = crowd(&inside, (0..CROWD).map(run)).await;
    must_be_pinged(&inside).await;
    for refusal in &refusals {
        let body = body(refusal);
        assert_eq!(body["error"]["code"], "limit_reached", "{body}");
    }
    drop(sockets);
    inside.end().await;
}
