//! The server itself, over a real socket.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use reqwest::{Client, StatusCode};
use sandglass::{
    domain::{ActivitySource, SandboxId},
    runtime::Memory,
    store::MemoryStore,
    supervisor::Supervisor,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::bench::{id, settings, supervisor, wall_clock};

/// How long a busy machine may take for an immediate effect.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A served supervisor over memory, in real time.
pub(crate) struct Wire {
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) runtime: Memory,
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
    running: JoinHandle<std::io::Result<()>>,
}

impl Wire {
    /// Serves with one worker and this limit of connections; dotted keys override the default settings.
    pub(crate) async fn start(connections: usize, overrides: &[(&str, &str)]) -> Self {
        Self::over(Memory::new(), connections, overrides).await
    }

    /// [`Wire::start`] over this engine.
    pub(crate) async fn over(runtime: Memory, connections: usize, overrides: &[(&str, &str)]) -> Self {
        let supervisor = supervisor(&settings(overrides), &MemoryStore::new(), &runtime, &wall_clock());
        supervisor.begin().await.expect("the lease is free");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = sandglass::http::server(
            supervisor.sandboxes(),
            sandglass::work::Work::new(supervisor.sandboxes()),
            listener,
            1,
            connections,
        )
        .expect("a server");
        let handle = server.handle();
        Self { supervisor, runtime, address, handle, running: tokio::spawn(server) }
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Socket {
        Socket(TcpStream::connect(self.address).await.expect("a connection"))
    }

    /// Sends this over a new connection and reads until the server closes it.
    pub(crate) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        socket.send(bytes).await;
        socket.rest().await
    }

    /// Waits until the only sandbox, ended or not, fits.
    pub(crate) async fn until(&self, id: &SandboxId, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let (client, url) = (Client::new(), format!("http://{}/v1/sandboxes/{id}", self.address));
        let deadline = Instant::now() + SOON;
        loop {
            let answer = client.get(&url).send().await.expect("an answer").bytes().await.expect("a body");
            let seen = serde_json::from_slice(&answer).expect("JSON");
            if is_so(&seen) {
                return seen;
            }
            assert!(Instant::now() < deadline, "{id} is not {what}: {seen}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops it, within its grace.
    pub(crate) async fn stop(self) {
        timeout(SOON, self.handle.stop(true)).await.expect("it stops within its grace");
        self.running.await.expect("no panic").expect("a clean end");
    }
}

/// A client of raw bytes.
pub(crate) struct Socket(pub(crate) TcpStream);

impl Socket {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("the bytes are taken");
    }

    /// Reads until the server closes the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        timeout(SOON, self.0.read_to_end(&mut all)).await.expect("it is closed").expect("it is readable");
        String::from_utf8(all).expect("text")
    }

    /// What comes until `end` is there, and something after it, as it happens.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.contains(end) {
            let read = timeout(SOON, self.0.read(&mut buffer)).await.expect("something comes").expect("it is readable");
            assert!(read > 0, "it was closed before {end:?}: {text}");
            text.push_str(std::str::from_utf8(&buffer[..read]).expect("text"));
        }
        text
    }
}

#[actix_web::test]
async fn a_server_answers_over_its_listener_until_it_is_stopped() {
    let wire = Wire::start(64, &[]).await;
    let (client, url) = (Client::new(), format!("http://{}", wire.address));

    let created = client.post(format!("{url}/v1/sandboxes")).body(r#"{"id": "one"}"#).send().await.expect("an answer");
    assert_eq!(created.status(), StatusCode::CREATED);
    let pinged = client.post(format!("{url}/v1/sandboxes/one/activity")).send().await.expect("an answer");
    assert_eq!(pinged.status(), StatusCode::OK);
    let pinged: Value = serde_json::from_slice(&pinged.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(pinged["sandbox_id"], "one");
    let head = client.head(format!("{url}/v1/sandboxes/one")).send().await.expect("an answer");
    assert_eq!(head.status(), StatusCode::OK);
    assert!(head.bytes().await.expect("a body").is_empty());
    let large = client.post(format!("{url}/v1/sandboxes")).body(vec![b' '; 1_048_577]).send().await.expect("an answer");
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);

    wire.stop().await;
    assert!(client.get(format!("{url}/healthz")).send().await.is_err());
}

#[actix_web::test]
async fn who_sends_far_too_much_is_told_so_and_not_cut_off() {
    let wire = Wire::start(64, &[]).await;
    let size = 8 << 20;
    let head = format!(
        "POST /v1/sandboxes HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    );
    let answer = wire.exchange([head.into_bytes(), vec![b' '; size]].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("too_large"), "{answer}");
    wire.stop().await;
}

#[actix_web::test]
async fn a_ping_over_http_1_0_is_a_ping() {
    let wire = Wire::start(64, &[]).await;
    wire.exchange("POST /v1/sandboxes HTTP/1.0\r\nContent-Length: 13\r\n\r\n{\"id\": \"one\"}").await;
    // The headers that proxies send by default.
    let ping = "POST /v1/sandboxes/one/activity HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let answer = wire.exchange(ping).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains(r#""sandbox_id":"one""#), "{answer}");
    // In any encoding of the body, with any connection header.
    let mut socket = wire.connect().await;
    socket.0.set_nodelay(true).expect("an option of the socket");
    let kept = ping.replace("close", "keep-alive");
    for (sent, byte) in kept.bytes().enumerate() {
        socket.send([byte]).await;
        if sent == 3 {
            // The server has to see a part alone first.
            sleep(Duration::from_millis(50)).await;
        }
    }
    let answer = socket.rest().await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    let one = wire.supervisor.get(&id("one")).await.expect("it is there");
    assert_eq!(one.activity_by(ActivitySource::Ping).count, 2);
    wire.stop().await;
}

#[actix_web::test]
async fn a_body_over_http_1_0_is_read_as_long_as_it_is_said_to_be_and_refused_when_nobody_says() {
    let wire = Wire::start(64, &[]).await;
    let create = "POST /v1/sandboxes HTTP/1.0\r\nContent-Length: 13\r\n\r\n{\"id\": \"one\"}";
    let answer = wire.exchange(create).await;
    assert!(answer.starts_with("HTTP/1.0 201 Created\r\n"), "{answer}");
    let answer = wire.exchange("POST /v1/sandboxes HTTP/1.0\r\n\r\n{\"id\": \"two\"}").await;
    assert!(answer.starts_with("HTTP/1.0 400 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(wire.runtime.len(), 1);
    wire.stop().await;
}

#[actix_web::test]
async fn the_stream_comes_over_http_1_0_without_chunks() {
    let wire = Wire::start(64, &[]).await;
    let mut socket = wire.connect().await;
    socket.send("GET /v1/events HTTP/1.0\r\n\r\n").await;
    let begun = socket.until("event: snapshot\n").await;
    let (head, body) = begun.split_once("\r\n\r\n").expect("a head");
    assert!(!head.contains("chunked") && body.starts_with("retry: "), "{begun}");
    drop(socket);
    wire.stop().await;
}
