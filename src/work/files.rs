//! Moves files. Contents are streamed in both directions, and never whole in memory.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::{Frame, Incoming},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};

use super::{
    Work,
    body::{Body, full, uri},
    connect::{self, Frames},
    error::WorkError,
    lines::Line,
};
use crate::domain::{ActivitySource, SandboxId};

/// How often bytes that move count as use again.
const USED_AGAIN: Duration = Duration::from_secs(1);

/// A part of a body that is uploaded.
#[derive(Clone, Debug)]
pub enum Part {
    /// Its next bytes.
    Data(Bytes),
    /// It is whole. A channel that closes without it has broken off, so that no half file is taken for a whole one.
    End,
}

/// A request for a file.
#[derive(Clone, Debug)]
pub struct FileRequest<'a> {
    /// GET, PUT or DELETE.
    pub method: Method,
    /// The agent's path: `/files` or `/files/archive`.
    pub path: &'a str,
    /// Its parameters.
    pub query: &'a [(&'a str, &'a str)],
    /// What else the agent is told, such as a range.
    pub headers: HeaderMap,
    /// Who asks: a name or `UID[:GID]`; `None`: whom the image names.
    pub user: Option<&'a str>,
}

/// The answer of an agent to a request for a file: its head and its body.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    line: Line,
    work: Work,
}

impl Answer {
    /// The body. Its bytes count as use while they move.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let Self { body, line, work, .. } = self;
        let used = Instant::now();
        stream::unfold((body, line, work, used), |(mut body, line, work, mut used)| async move {
            loop {
                let data = match body.frame().await? {
                    Ok(frame) => frame.into_data().ok(),
                    Err(error) => return Some((Err(io::Error::other(error)), (body, line, work, used))),
                };
                if used.elapsed() >= USED_AGAIN {
                    used = Instant::now();
                    work.still_used(&line.sandbox).await;
                }
                if let Some(data) = data {
                    return Some((Ok(data), (body, line, work, used)));
                }
            }
        })
    }

    /// The whole body of a short answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn whole(self) -> Result<Bytes, WorkError> {
        self.line.whole(self.body).await
    }
}

impl Work {
    /// Bytes that move are use, however long they take.
    async fn still_used(&self, sandbox: &SandboxId) {
        // Of a sandbox that ends, the connection is about to break.
        let _ = self.sandboxes().touch(sandbox, ActivitySource::File).await;
    }

    /// Makes a call to the agent's file system. Counts as use.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn file_call(
        &self,
        sandbox: &SandboxId,
        call: &str,
        message: &Value,
        user: Option<&str>,
    ) -> Result<Value, WorkError> {
        let mut line = self.enter_for(sandbox, ActivitySource::File).await?;
        line.call(&format!("/filesystem.Filesystem/{call}"), message, user).await
    }

    /// Watches a directory: a stream of the agent's events. Counts as use once.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn watch(
        &self,
        sandbox: &SandboxId,
        message: &Value,
        user: Option<&str>,
    ) -> Result<impl Stream<Item = Result<Value, WorkError>> + Send + 'static, WorkError> {
        let mut line = self.enter_for(sandbox, ActivitySource::File).await?;
        let frames = line.stream("/filesystem.Filesystem/WatchDir", message, user).await?;
        Ok(stream::unfold(Some(frames), |frames: Option<Frames>| async move {
            let mut frames = frames?;
            match frames.next::<Value>().await {
                Ok(Some(event)) => Some((Ok(event), Some(frames))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// Sends a request for a file, with the parts of its body up to [`Part::End`]. Counts as use, also while bytes move.
    ///
    /// # Errors
    /// [`WorkError`]; an answer that is an error of the agent is one, too.
    pub async fn file_request(
        &self,
        sandbox: &SandboxId,
        asked: FileRequest<'_>,
        upload: Option<mpsc::Receiver<io::Result<Part>>>,
    ) -> Result<Answer, WorkError> {
        let FileRequest { method, path, query, headers, user } = asked;
        let mut line = self.enter_for(sandbox, ActivitySource::File).await?;
        let body = match upload {
            Some(parts) => self.body_of(parts, sandbox.clone()),
            None => full(Bytes::new()),
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        *request.uri_mut() = uri(&format!("{path}?{}", query.join("&")));
        let answer = line.send(request, user).await?;
        let (head, body) = answer.into_parts();
        if head.status.is_client_error() || head.status.is_server_error() {
            let told = line.whole(body).await?;
            return Err(connect::refusal(&told, head.status));
        }
        Ok(Answer { status: head.status, headers: head.headers, body, line, work: self.clone() })
    }

    fn body_of(&self, parts: mpsc::Receiver<io::Result<Part>>, sandbox: SandboxId) -> Body {
        let work = self.clone();
        let used = Instant::now();
        let frames = stream::unfold((parts, work, sandbox, used), |(mut parts, work, sandbox, mut used)| async move {
            let data = match parts.recv().await {
                Some(Ok(Part::Data(data))) => Ok(data),
                Some(Ok(Part::End)) => return None,
                Some(Err(error)) => Err(error),
                None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the upload broke off before its end")),
            };
            if used.elapsed() >= USED_AGAIN {
                used = Instant::now();
                work.still_used(&sandbox).await;
            }
            Some((data.map(Frame::data), (parts, work, sandbox, used)))
        });
        StreamBody::new(frames).boxed_unsync()
    }
}
