//! With a low limit of open files, connections starve neither pings nor the engine (`design::security::limits`).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{SLACK, directory};
use crate::support::{
    docker::Corner,
    program::{Answer, Program},
};

/// How many files may be open.
const FILES: usize = 256;
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Sends a request over a new connection that stays open.
async fn send(program: &Program, path: &str, headers: &str) -> TcpStream {
    let address = program.url().trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.expect("it is taken");
    socket
}

/// The same, and returns the beginning of the answer.
async fn ask(program: &Program, path: &str) -> (TcpStream, String) {
    let mut socket = send(program, path, "").await;
    let mut buffer = vec![0; 4096];
    let read = timeout(Duration::from_secs(20), socket.read(&mut buffer)).await.expect("an answer").expect("readable");
    (socket, String::from_utf8_lossy(&buffer[..read]).into_owned())
}

/// Pings over new connections keep a sandbox for longer than its idle timeout, while the engine is called.
async fn must_work(program: &Program, corner: &Corner) {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client");
    let pinged = format!("{}-pinged", corner.prefix);
    let activity = format!("{}/v1/sandboxes/{pinged}/activity", program.url());
    let create = client.post(format!("{}/v1/sandboxes", program.url()));
    let body = json!({"id": pinged, "idle_timeout": IDLE_TIMEOUT.as_secs()});
    assert_eq!(create.body(body.to_string()).send().await.expect("the engine is called").status(), 201);
    let pings = async {
        loop {
            let ping =
                client.post(&activity).timeout(Duration::from_secs(3)).send().await.expect("a ping gets through");
            assert_eq!(ping.status(), 200);
            sleep(Duration::from_millis(300)).await;
        }
    };
    // The engine may take its time.
    let creates = async {
        let (mut rounds, until) = (0, Instant::now() + 2 * IDLE_TIMEOUT);
        while Instant::now() < until {
            let id = format!("{}-{rounds}", corner.prefix);
            let created = client.post(format!("{}/v1/sandboxes", program.url())).body(json!({"id": id}).to_string());
            assert_eq!(created.send().await.expect("the engine is called").status(), 201);
            let ended = client.delete(format!("{}/v1/sandboxes/{id}", program.url())).send().await.expect("an answer");
            assert_eq!(ended.status(), 202);
            rounds += 1;
        }
    };
    tokio::select! {
        () = creates => {}
        _ = pings => {}
    }
    let ready = client.get(format!("{}/readyz", program.url())).send().await.expect("an answer");
    assert_eq!(ready.status(), 200);
    assert!(!program.log().contains("Too many open files"), "{}", program.log());
}

async fn serve(directory: &tempfile::TempDir, corner: &Corner) -> Program {
    Program::serve_with_files(FILES, directory.path(), &["--prefix", corner.prefix.as_str()]).await
}

#[tokio::test]
async fn idle_connections_up_to_the_limit_of_open_files_stop_neither_pings_nor_the_engine() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = serve(&directory, &corner).await;
    let mut idle = Vec::new();
    for _ in 0..FILES - 26 {
        let (socket, answer) = ask(&program, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        idle.push(socket);
    }
    must_work(&program, &corner).await;
    drop(idle);
    program.stop().await;
}

#[tokio::test]
async fn streams_are_refused_while_there_are_files_left_for_pings_and_the_engine() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = serve(&directory, &corner).await;
    assert!(program.log().contains("the limit of open files allows only"), "{}", program.log());
    let (mut streams, mut refused) = (Vec::new(), 0);
    for _ in 0..FILES {
        let (socket, answer) = ask(&program, "/v1/events").await;
        if answer.starts_with("HTTP/1.1 429 ") {
            assert!(answer.contains("limit_reached") && answer.contains("the limit of open files"), "{answer}");
            refused += 1;
        } else {
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        }
        streams.push(socket);
    }
    let open = program.metric("sandglass_streams").await;
    assert!(open >= 32.0 && open as usize + refused == FILES, "{open} streams, {refused} refused");
    must_work(&program, &corner).await;
    assert_eq!(program.metric("sandglass_streams").await, open, "no stream was closed in favour of anything");
    drop(streams);
    let within = Instant::now() + SLACK + Duration::from_secs(20);
    while program.metric("sandglass_streams").await > 0.0 {
        assert!(Instant::now() < within, "streams that are gone are given up");
        sleep(Duration::from_millis(50)).await;
    }
    let Answer { status, .. } = program.post("/v1/activity", &json!({"ids": []})).await;
    assert!(status < 500, "{}", Value::from(status));
    program.stop().await;
}

#[tokio::test]
async fn a_busy_port_and_logs_that_are_followed_stop_neither_pings_nor_the_engine() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = serve(&directory, &corner).await;
    let Answer { status, body } = program.post("/v2/sandboxes", &json!({"templateID": "base", "timeout": 600})).await;
    assert_eq!(status, 201, "{body}");
    let busy = body["sandboxID"].as_str().expect("an id");
    let listen = json!({"command": ["nc", "-ll", "-p", "8000", "-e", "sleep", "1000"], "background": true});
    let Answer { status, body } = program.post(&format!("/v1/sandboxes/{busy}/commands"), &listen).await;
    assert_eq!(status, 202, "{body}");
    let port = format!("E2b-Sandbox-Id: {busy}\r\nE2b-Sandbox-Port: 8000\r\n");
    let log = format!("/v1/sandboxes/{busy}/logs?follow=true");
    let mut clients = Vec::new();
    for turn in 0..FILES {
        clients.push(match turn % 2 {
            0 => send(&program, "/", &port).await,
            // An own connection to the engine each.
            _ => send(&program, &log, "").await,
        });
    }
    must_work(&program, &corner).await;
    let (mut refused, mut served) = (0, 0);
    for client in &mut clients {
        let mut buffer = vec![0; 4096];
        match timeout(Duration::ZERO, client.read(&mut buffer)).await {
            Err(_nothing_yet) => served += 1,
            Ok(Ok(read)) => match String::from_utf8_lossy(&buffer[..read]) {
                answer if answer.starts_with("HTTP/1.1 429 ") => {
                    assert!(answer.contains("the limit of open files"), "{answer}");
                    refused += 1;
                }
                answer if answer.starts_with("HTTP/1.1 200 ") => served += 1,
                // Closed for a newer one before its request had come.
                answer => assert_eq!(answer, ""),
            },
            Ok(Err(_closed)) => {}
        }
    }
    assert!(refused > 0 && (32..=FILES / 4).contains(&served), "{refused} were refused, {served} are served");
    drop(clients);
    program.stop().await;
}
