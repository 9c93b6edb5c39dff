//! The inside of sandboxes by E2B's protocol: in real time over real sockets, with an agent that works on this machine. What
//! listens on a port "inside" is the test itself.

mod agent;
mod crowd;
mod doors;
mod hang_up;
mod ports;
mod used;
mod websocket;

use std::{net::Ipv4Addr, time::Duration};

use bytes::{Buf, BufMut, BytesMut};
use reqwest::{Client, Method, RequestBuilder, Response};
use sandglass::{
    domain::{ActivitySource, SandboxId},
    runtime::Memory,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::http::wire::{SOON, Wire};

/// The agent's port.
const AGENT: u16 = 49983;

/// A served sandbox, and a client.
struct Inside {
    wire: Wire,
    client: Client,
    id: SandboxId,
    /// What create answered.
    created: Value,
}

impl Inside {
    async fn start(overrides: &[(&str, &str)], create: Value) -> Self {
        Self::among(64, overrides, create).await
    }

    /// [`Inside::start`] with this limit of connections.
    async fn among(connections: usize, overrides: &[(&str, &str)], create: Value) -> Self {
        let wire = Wire::over(Memory::new().with_agents(), connections, overrides).await;
        let client = Client::builder().no_proxy().build().expect("a client");
        let key = overrides.iter().find(|(name, _)| *name == "http.api_key").map_or("none", |(_, key)| key);
        let mut request = json!({ "templateID": "base", "timeout": 600 });
        request.as_object_mut().expect("an object").extend(create.as_object().cloned().unwrap_or_default());
        let url = format!("http://{}/v2/sandboxes", wire.address);
        let answer =
            client.post(url).header("X-API-Key", key).body(request.to_string()).send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
        let created: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        let id = SandboxId::parse(created["sandboxID"].as_str().expect("an id")).expect("an id");
        Self { wire, client, id, created }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.wire.address)
    }

    /// A request for a port, as SDKs send it.
    fn at(&self, port: u16, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.url(path));
        request.header("E2b-Sandbox-Id", self.id.as_str()).header("E2b-Sandbox-Port", port)
    }

    fn get(&self, port: u16, path: &str) -> RequestBuilder {
        self.at(port, Method::GET, path)
    }

    /// The token of the agent.
    fn token(&self) -> &str {
        self.created["envdAccessToken"].as_str().expect("a token")
    }

    /// A call of the agent with one answer.
    async fn call(&self, call: &str, message: Value) -> Value {
        let request = self.at(AGENT, Method::POST, &format!("/{call}")).header("Content-Type", "application/json");
        let answer = request.body(message.to_string()).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// A call of the agent with a stream of answers.
    async fn stream(&self, call: &str, message: Value) -> Frames {
        let request = self.at(AGENT, Method::POST, &format!("/{call}"));
        let request = request.header("Content-Type", "application/connect+json").body(framed(&message));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        Frames { answer, buffer: BytesMut::new() }
    }

    /// Runs a line of a shell to its end; what it wrote.
    async fn shell(&self, line: &str) -> String {
        let mut frames = self.stream("process.Process/Start", shell(line)).await;
        let mut written = Vec::new();
        while let Some(message) = frames.next().await.expect("a frame") {
            if let Some(data) = message["event"]["data"]["stdout"].as_str() {
                written.extend(base64(data));
            }
        }
        String::from_utf8(written).expect("text")
    }

    /// How often it was used like this.
    async fn uses(&self, source: ActivitySource) -> u64 {
        self.wire.supervisor.get(&self.id).await.expect("it is there").activity_by(source).count.into()
    }

    async fn end(self) {
        self.wire.supervisor.terminate(&self.id, Duration::from_secs(10)).await.expect("it ends");
        self.wire.stop().await;
    }
}

fn shell(line: &str) -> Value {
    json!({ "process": { "cmd": "/bin/sh", "args": ["-c", line] } })
}

fn base64(text: &str) -> Vec<u8> {
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).expect("base64")
}

/// One message with its length.
fn framed(message: &Value) -> Vec<u8> {
    let json = message.to_string();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(json.len()).expect("short"));
    frame.put_slice(json.as_bytes());
    frame.to_vec()
}

/// The messages of a stream.
struct Frames {
    answer: Response,
    buffer: BytesMut,
}

impl Frames {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            if let Some(head) = self.buffer.get(..5) {
                let (flags, length) = (head[0], (&head[1..]).get_u32() as usize);
                if self.buffer.len() >= 5 + length {
                    self.buffer.advance(5);
                    let message = self.buffer.split_to(length);
                    let message: Value = serde_json::from_slice(&message).map_err(|error| error.to_string())?;
                    return match flags {
                        0 => Ok(Some(message)),
                        _ if message["error"].is_null() => Ok(None),
                        _ => Err(message.to_string()),
                    };
                }
            }
            let chunk = timeout(SOON, self.answer.chunk()).await.expect("something comes");
            match chunk.map_err(|error| error.to_string())? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Err("it ended without a last message".to_owned()),
            }
        }
    }
}

/// A port "inside", which is one of this machine.
struct Port {
    listener: TcpListener,
    number: u16,
}

impl Port {
    async fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let number = listener.local_addr().expect("an address").port();
        Self { listener, number }
    }

    /// The next connection, with the head of its request.
    async fn request(&self) -> (Visitor, String) {
        let (socket, _) = timeout(SOON, self.listener.accept()).await.expect("somebody comes").expect("a connection");
        let mut visitor = Visitor(socket);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(SOON, visitor.0.read_u8()).await.expect("more comes").expect("it is readable"));
        }
        (visitor, String::from_utf8(head).expect("text"))
    }
}

/// A connection that a port has accepted.
struct Visitor(TcpStream);

impl Visitor {
    async fn answer(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("it is taken");
    }

    async fn read(&mut self, length: usize) -> String {
        let mut buffer = vec![0; length];
        timeout(SOON, self.0.read_exact(&mut buffer)).await.expect("more comes").expect("it is readable");
        String::from_utf8(buffer).expect("text")
    }

    /// Waits until the other side has ended.
    async fn gone(&mut self) {
        let mut rest = Vec::new();
        // Being reset is an end, too.
        let _ = timeout(SOON, self.0.read_to_end(&mut rest)).await.expect("it ends");
    }
}
