//! Moves files. Contents are streamed in both directions, and never whole in memory.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, stream};
use hyper::{HeaderMap, Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    Work,
    answer::Answer,
    body::{Part, full, parts_of, uri},
    connect::{self, Frames},
    error::WorkError,
};
use crate::domain::{ActivitySource, SandboxId};

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

impl Work {
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
            Some(parts) => parts_of(parts, self.meter(sandbox, ActivitySource::File)),
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
        Ok(Answer::new(head, body, line, self.meter(sandbox, ActivitySource::File)))
    }
}
