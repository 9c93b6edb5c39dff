//! A client of the agent: HTTP over a pipe in memory, with Connect's messages.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sandglass_agent::{Agent, Setup};
use serde_json::Value;

/// How long a test waits for what has to come.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// A connection to an agent.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects to a new agent.
    pub(crate) async fn new() -> Self {
        Self::of(&agent()).await
    }

    /// Connects to an agent.
    pub(crate) async fn of(agent: &Agent) -> Self {
        let (near, far) = tokio::io::duplex(1 << 16);
        let agent = agent.clone();
        tokio::spawn(async move { _ = sandglass_agent::serve(far, &agent).await });
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
        tokio::spawn(async move { _ = connection.await });
        Self { sender }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let sent = self.sender.clone().send_request(request);
        tokio::time::timeout(BOUND, sent).await.expect("an answer in time").expect("an answer")
    }

    /// Calls with one answer: its status and JSON.
    pub(crate) async fn call(&self, path: &str, message: Value) -> (u16, Value) {
        let request = Request::post(format!("http://agent{path}"))
            .header("content-type", "application/json")
            .body(Full::from(message.to_string()))
            .unwrap();
        let response = self.send(request).await;
        let status = response.status().as_u16();
        let body = tokio::time::timeout(BOUND, response.collect()).await.expect("in time").unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Calls with a stream of answers.
    pub(crate) async fn stream(&self, path: &str, message: Value) -> Stream {
        self.stream_with(path, message, &[]).await
    }

    /// The same, with headers.
    pub(crate) async fn stream_with(&self, path: &str, message: Value, headers: &[(&str, &str)]) -> Stream {
        let mut request =
            Request::post(format!("http://agent{path}")).header("content-type", "application/connect+json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.send(request.body(Full::from(frame(&message))).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/connect+json");
        Stream { body: response.into_body(), buffered: BytesMut::new() }
    }
}

/// An agent of this test's own.
pub(crate) fn agent() -> Agent {
    let environment = ["PATH", "HOME"].iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)));
    Agent::new(Setup { environment: environment.collect(), reaps_orphans: false })
}

/// A message of a stream, framed.
pub(crate) fn frame(message: &Value) -> Bytes {
    let json = message.to_string();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(json.len().try_into().unwrap());
    frame.put_slice(json.as_bytes());
    frame.freeze()
}

/// A stream of answers.
pub(crate) struct Stream {
    body: Incoming,
    buffered: BytesMut,
}

impl Stream {
    /// The next message, or how the stream has ended: `Err` holds the last frame.
    pub(crate) async fn next(&mut self) -> Result<Value, Value> {
        tokio::time::timeout(BOUND, self.next_unbounded()).await.expect("a message in time")
    }

    async fn next_unbounded(&mut self) -> Result<Value, Value> {
        loop {
            if self.buffered.len() >= 5 {
                let length = (&self.buffered[1..5]).get_u32() as usize;
                if self.buffered.len() >= 5 + length {
                    let flags = self.buffered[0];
                    self.buffered.advance(5);
                    let message = serde_json::from_slice(&self.buffered.split_to(length)).unwrap();
                    return if flags == 2 { Err(message) } else { Ok(message) };
                }
            }
            let frame = self.body.frame().await.expect("a last frame").expect("a whole stream");
            self.buffered.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}
