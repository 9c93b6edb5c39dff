//! A client of the agent: HTTP over a pipe in memory, with Connect's messages.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sandglass_agent::{Agent, Setup};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

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
        Self::over(near).await
    }

    /// Uses a connection.
    pub(crate) async fn over(near: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
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

    /// Calls with a stream of messages: the answer, if there is one, and the last frame.
    pub(crate) async fn send_stream(&self, path: &str, messages: &[Value]) -> (Option<Value>, Value) {
        let mut body = BytesMut::new();
        for message in messages {
            body.extend_from_slice(&frame(message));
        }
        let request = Request::post(format!("http://agent{path}")).header("content-type", "application/connect+json");
        let response = self.send(request.body(Full::from(body.freeze())).unwrap()).await;
        let mut stream = Stream { body: response.into_body(), buffered: BytesMut::new() };
        match stream.next().await {
            Ok(answer) => (Some(answer), stream.next().await.unwrap_err()),
            Err(last) => (None, last),
        }
    }

    /// Starts a process.
    pub(crate) async fn start(&self, message: Value) -> Stream {
        self.stream("/process.Process/Start", message).await
    }

    /// Starts a process and waits for its end.
    pub(crate) async fn run(&self, message: Value) -> Run {
        self.start(message).await.run().await
    }

    /// Runs a line of shell.
    pub(crate) async fn shell(&self, line: &str) -> Run {
        self.run(shell(line)).await
    }

    /// The error of a call that is refused.
    pub(crate) async fn refused(&self, path: &str, message: Value) -> (String, String) {
        let (status, error) = self.call(path, message).await;
        assert!(status >= 400, "{status}: {error}");
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (text("code"), text("message"))
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
    Agent::new(Setup { environment: environment.collect(), open_files: None, reaps_orphans: false, ..Setup::default() })
}

/// A process that runs a line of shell, without input.
pub(crate) fn shell(line: &str) -> Value {
    json!({ "process": { "cmd": "sh", "args": ["-c", line] }, "stdin": false })
}

/// What a stream of a process has told.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) pid: u32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) pty: Vec<u8>,
    /// The offset of the first byte of each stream that has been told.
    pub(crate) first: BTreeMap<String, u64>,
    pub(crate) end: Value,
    pub(crate) keepalives: u32,
    /// Whether output may be missing.
    pub(crate) is_loose: bool,
    /// The last frame.
    pub(crate) last: Value,
}

impl Run {
    /// Takes one event in.
    pub(crate) fn take(&mut self, message: &Value) {
        let event = &message["event"];
        if let Some(data) = event["data"].as_object() {
            for (name, to) in [("stdout", &mut self.stdout), ("stderr", &mut self.stderr), ("pty", &mut self.pty)] {
                if let Some(bytes) = data.get(name) {
                    let offset: u64 = data["offset"].as_str().unwrap().parse().unwrap();
                    let first = *self.first.entry(name.to_owned()).or_insert(offset);
                    // A reader that is fast enough is told everything.
                    assert!(self.is_loose || offset == first + to.len() as u64, "{name}");
                    to.extend(BASE64_STANDARD.decode(bytes.as_str().unwrap()).unwrap());
                }
            }
        } else if let Some(pid) = event["start"]["pid"].as_u64() {
            self.pid = pid.try_into().unwrap();
        } else if event["keepalive"].is_object() {
            self.keepalives += 1;
        } else {
            assert!(event["end"].is_object(), "{message}");
            self.end = event["end"].clone();
        }
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn terminal(&self) -> String {
        String::from_utf8_lossy(&self.pty).into_owned()
    }
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
    /// Reads to the end.
    pub(crate) async fn run(mut self) -> Run {
        let mut run = Run::default();
        loop {
            match self.next().await {
                Ok(message) => run.take(&message),
                Err(last) => {
                    run.last = last;
                    return run;
                }
            }
        }
    }

    /// Reads to the end, also where output is missing.
    pub(crate) async fn collect_loosely(mut self) -> Run {
        let mut run = Run { is_loose: true, ..Run::default() };
        while let Ok(message) = self.next().await {
            run.take(&message);
        }
        run
    }

    /// Reads until what has been told satisfies a condition.
    pub(crate) async fn until(&mut self, is_enough: impl Fn(&Run) -> bool) -> Run {
        let mut run = Run::default();
        while !is_enough(&run) {
            run.take(&self.next().await.expect("more"));
        }
        run
    }

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
