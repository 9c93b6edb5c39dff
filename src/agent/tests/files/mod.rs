//! Files: calls about them, and moving them in and out.

mod archives;
mod calls;
mod transfers;
mod users;
mod watching;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{BOUND, Client};

/// An agent, a connection to it, and a directory that every user can reach.
pub(crate) struct Place {
    pub(crate) client: Client,
    pub(crate) directory: TempDir,
}

/// An answer that was read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

impl Place {
    pub(crate) async fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let directory = TempDir::new().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        Self { client: Client::new().await, directory }
    }

    /// The path of a name in the directory.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    /// Calls `filesystem.Filesystem`.
    pub(crate) async fn call(&self, name: &str, message: Value) -> (u16, Value) {
        self.client.call(&format!("/filesystem.Filesystem/{name}"), message).await
    }

    /// The same as a user.
    pub(crate) async fn call_as(&self, user: &str, name: &str, message: Value) -> (u16, Value) {
        let request = Request::post(format!("http://agent/filesystem.Filesystem/{name}"))
            .header("content-type", "application/json")
            .header("authorization", format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:"))))
            .body(Full::from(message.to_string()))
            .unwrap();
        let answer = read(self.client.send(request).await).await;
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    /// Asks for `/files` or `/files/archive`; `query` are names and values.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let mut request = Request::builder().method(method).uri(format!("http://agent{path}?{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(self.client.send(request.body(Full::new(body.into())).unwrap()).await).await
    }

    pub(crate) async fn get(&self, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, "/files", query, headers, Bytes::new()).await
    }

    pub(crate) async fn put(&self, query: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.ask(Method::PUT, "/files", query, &[], body).await
    }

    pub(crate) async fn post(&self, query: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let headers = [("content-type", "application/octet-stream")];
        self.ask(Method::POST, "/files", query, &headers, body).await
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn read(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = tokio::time::timeout(BOUND, body.collect()).await.expect("a body in time").expect("a whole body");
    Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() }
}

/// Bytes that do not repeat soon, so that a piece in the wrong place is noticed.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
