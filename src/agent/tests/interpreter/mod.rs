//! The code interpreter, with the real programs of this machine.

mod bash;
mod contexts;
mod javascript;
mod python;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming};
use serde_json::{Value, json};

use crate::client::{BOUND, Client};

/// A client of an agent's interpreter.
pub(crate) struct Interpreter(Client);

/// What a cell has told.
#[derive(Debug, Default)]
pub(crate) struct Execution {
    pub(crate) count: u64,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
    pub(crate) results: Vec<Value>,
    pub(crate) error: Value,
    pub(crate) keepalives: u32,
}

impl Execution {
    /// The text of the last expression's value.
    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.error, Value::Null, "{self:?}");
        let main = self.results.iter().find(|result| result["is_main_result"] == true);
        main.and_then(|main| main["text"].as_str()).unwrap_or_default()
    }

    pub(crate) fn out(&self) -> String {
        assert_eq!(self.error, Value::Null, "{self:?}");
        self.stdout.concat()
    }

    pub(crate) fn error_name(&self) -> &str {
        self.error["name"].as_str().unwrap_or_default()
    }

    fn take(&mut self, line: &Value) {
        let text = || line["text"].as_str().unwrap().to_owned();
        match line["type"].as_str().unwrap() {
            "number_of_executions" => self.count = line["execution_count"].as_u64().unwrap(),
            "stdout" => self.stdout.push(text()),
            "stderr" => self.stderr.push(text()),
            "result" => self.results.push(line.clone()),
            "error" => {
                assert_eq!(self.error, Value::Null, "one error only");
                self.error = line.clone();
            }
            "keepalive" => self.keepalives += 1,
            other => panic!("{other}"),
        }
    }
}

/// The lines of a cell that runs. It hangs up when it is dropped.
pub(crate) struct Running {
    body: Incoming,
    buffered: BytesMut,
}

impl Running {
    /// The next line; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffered.iter().position(|byte| *byte == b'\n') {
                let line = self.buffered.split_to(end + 1);
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(BOUND, self.body.frame()).await.expect("a line in time")?;
            self.buffered.extend_from_slice(&frame.expect("a whole answer").into_data().unwrap());
        }
    }

    /// Reads until the cell has written something.
    pub(crate) async fn written(&mut self) -> String {
        loop {
            let line = self.next().await.expect("a line");
            assert_ne!(line["type"], "error", "{line}");
            if line["type"] == "stdout" {
                return line["text"].as_str().unwrap().to_owned();
            }
        }
    }

    /// Reads to the end.
    pub(crate) async fn rest(mut self) -> Execution {
        let mut told = Execution::default();
        loop {
            let line = self.next().await.expect("a line that says the end");
            if line["type"] == "end_of_execution" {
                assert_eq!(self.next().await, None, "nothing follows the end");
                return told;
            }
            told.take(&line);
        }
    }
}

impl Interpreter {
    pub(crate) async fn new() -> Self {
        Self(Client::new().await)
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(format!("http://interpreter{path}"));
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        self.0.send(request.header("content-type", "application/json").body(Full::from(body)).unwrap()).await
    }

    /// A call with its status and text.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let response = self.send(method, path, body).await;
        let status = response.status().as_u16();
        let body = tokio::time::timeout(BOUND, response.collect()).await.expect("in time").unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Begins a cell.
    pub(crate) async fn begin(&self, request: &Value) -> Running {
        let response = self.send("POST", "/execute", request).await;
        assert_eq!(response.status(), 200, "{:?}", response.collect().await);
        Running { body: response.into_body(), buffered: BytesMut::new() }
    }

    /// Runs a cell.
    pub(crate) async fn execute(&self, request: &Value) -> Execution {
        self.begin(request).await.rest().await
    }

    /// Runs a cell of Python in its default context.
    pub(crate) async fn python(&self, code: &str) -> Execution {
        self.execute(&json!({ "code": code, "context_id": null, "language": null, "env_vars": null })).await
    }

    /// Runs a cell of another language in its default context.
    pub(crate) async fn run(&self, language: &str, code: &str) -> Execution {
        self.execute(&json!({ "code": code, "language": language })).await
    }

    /// Makes a context.
    pub(crate) async fn context(&self, request: &Value) -> String {
        let (status, body) = self.call("POST", "/contexts", request).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// Runs a cell in a context.
    pub(crate) async fn run_in(&self, id: &str, code: &str) -> Execution {
        self.execute(&json!({ "code": code, "context_id": id })).await
    }
}
