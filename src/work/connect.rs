//! The agent's protocol: Connect with JSON over HTTP/2, as E2B's clients speak it, too.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    body::{Body, full, uri},
    error::WorkError,
    lines::Line,
    patience::{MOMENT, has_run_for},
};

/// The flag of a stream's last frame.
const END: u8 = 2;
/// A frame's head: its flags and its length.
const HEAD: usize = 5;
/// The longest frame that is taken.
const MOST_FRAME: usize = 16 << 20;
/// The longest answer to a unary call, such as the list of a directory.
const MOST_ANSWER: usize = 64 << 20;

/// The calls that need no more than a moment. The others list, move or wait for as much as there is.
const BRIEF: [&str; 6] = [
    "/process.Process/List",
    "/process.Process/SendSignal",
    "/process.Process/Update",
    "/filesystem.Filesystem/Stat",
    "/filesystem.Filesystem/MakeDir",
    "/filesystem.Filesystem/Move",
];

const JSON: &str = "application/json";
const STREAM: &str = "application/connect+json";

/// An error as Connect writes it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Refusal {
    code: Box<str>,
    message: Box<str>,
    exit_code: Option<i32>,
}

impl From<Refusal> for WorkError {
    fn from(Refusal { code, message, exit_code }: Refusal) -> Self {
        Self::Refused { code, message, exit_code }
    }
}

fn encoded(message: &impl Serialize) -> Vec<u8> {
    // Messages are numbers, texts and lists: they always become JSON.
    serde_json::to_vec(message).unwrap_or_default()
}

impl Line {
    /// Sends a request as `user` (empty: as the agent itself), and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Body>,
        user: Option<&str>,
    ) -> Result<Response<Incoming>, WorkError> {
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{user}:"));
            if let Ok(value) = header::HeaderValue::from_str(&format!("Basic {basic}")) {
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
        }
        let answer = self.sender.send_request(request).await;
        answer.map_err(|error| self.broken(&error))
    }

    /// Makes a unary call.
    pub(super) async fn call<T: DeserializeOwned>(
        &mut self,
        path: &str,
        message: &impl Serialize,
        user: Option<&str>,
    ) -> Result<T, WorkError> {
        if !BRIEF.contains(&path) {
            return self.call_unbounded(path, message, user).await;
        }
        let (sandboxes, sandbox) = (Arc::clone(&self.sandboxes), self.sandbox.clone());
        tokio::select! {
            answer = self.call_unbounded(path, message, user) => answer,
            () = has_run_for(&sandboxes, &sandbox, MOMENT) => {
                Err(WorkError::Broken(sandbox, format!("it did not answer within {MOMENT:?}")))
            }
        }
    }

    async fn call_unbounded<T: DeserializeOwned>(
        &mut self,
        path: &str,
        message: &impl Serialize,
        user: Option<&str>,
    ) -> Result<T, WorkError> {
        let request = post(path, JSON, encoded(message));
        let answer = self.send(request, user).await?;
        let status = answer.status();
        let body = self.whole(answer.into_body()).await?;
        if status != StatusCode::OK {
            return Err(refusal(&body, status));
        }
        serde_json::from_slice(&body).map_err(|error| self.unreadable(&error.to_string()))
    }

    /// Opens a stream of answers to one message.
    pub(super) async fn stream(
        &mut self,
        path: &str,
        message: &impl Serialize,
        user: Option<&str>,
    ) -> Result<Frames, WorkError> {
        let json = encoded(message);
        let mut frame = BytesMut::with_capacity(HEAD + json.len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(json.len()).unwrap_or(u32::MAX));
        frame.put_slice(&json);
        let answer = self.send(post(path, STREAM, frame), user).await?;
        let status = answer.status();
        if status != StatusCode::OK {
            let body = self.whole(answer.into_body()).await?;
            return Err(refusal(&body, status));
        }
        Ok(Frames { line: self.clone(), body: answer.into_body(), buffer: BytesMut::new() })
    }

    pub(super) async fn whole(&self, body: Incoming) -> Result<Bytes, WorkError> {
        let body = http_body_util::Limited::new(body, MOST_ANSWER).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| self.unreadable(&error.to_string()))
    }

    pub(super) fn unreadable(&self, problem: &str) -> WorkError {
        WorkError::Broken(self.sandbox.clone(), format!("its answer cannot be read: {problem}"))
    }

    fn broken(&self, error: &dyn std::error::Error) -> WorkError {
        WorkError::Broken(self.sandbox.clone(), with_causes(error))
    }
}

/// An error and what caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn post(path: &str, kind: &'static str, body: impl Into<Bytes>) -> Request<Body> {
    let mut request = Request::new(full(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri(path);
    request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    request
}

/// What a refused request says: a call in Connect's words, one for files by its status.
pub(super) fn refusal(body: &[u8], status: StatusCode) -> WorkError {
    #[derive(Deserialize)]
    struct OfFiles {
        message: Box<str>,
    }
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(body) {
        return refusal.into();
    }
    let code = match status.as_u16() {
        400 => "invalid_argument",
        401 | 403 => "permission_denied",
        404 => "not_found",
        409 => "failed_precondition",
        416 => "out_of_range",
        429 => "resource_exhausted",
        507 => "disk_full",
        _ => "unknown",
    };
    let message = serde_json::from_slice::<OfFiles>(body).map(|refusal| refusal.message);
    let message = message.unwrap_or_else(|_| format!("the agent answered {status}").into());
    Refusal { code: code.into(), message, exit_code: None }.into()
}

/// The answers of a stream.
pub(super) struct Frames {
    line: Line,
    body: Incoming,
    buffer: BytesMut,
}

impl Frames {
    /// The next answer; `None` at the end of the stream.
    ///
    /// Can be dropped and called again: what has come is kept.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WorkError> {
        loop {
            if let Some((flags, json)) = self.take()? {
                if flags & END == 0 {
                    return serde_json::from_slice(&json)
                        .map(Some)
                        .map_err(|error| self.line.unreadable(&error.to_string()));
                }
                #[derive(Deserialize)]
                struct Last {
                    error: Option<Refusal>,
                }
                return match serde_json::from_slice::<Last>(&json).ok().and_then(|last| last.error) {
                    Some(refusal) => Err(refusal.into()),
                    None => Ok(None),
                };
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(self.line.broken(&error)),
                // Every stream has a last frame.
                None => return Err(self.line.unreadable("it ended too soon")),
            }
        }
    }

    fn take(&mut self) -> Result<Option<(u8, Bytes)>, WorkError> {
        let Some(head) = self.buffer.get(..HEAD) else { return Ok(None) };
        let (flags, mut length) = (head[0], &head[1..]);
        let length = length.get_u32() as usize;
        if length > MOST_FRAME {
            return Err(self.line.unreadable("a message is too long"));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some((flags, self.buffer.split_to(length).freeze())))
    }
}
