//! Answers that are streamed from inside.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::BodyExt;
use hyper::{HeaderMap, StatusCode, body::Incoming, http::response};

use tokio_util::task::AbortOnDropHandle;

use super::{error::WorkError, lines::Line, meter::Meter};

/// What a quiet stream sends, so that nobody takes it for broken: of a command's events, of a watcher's, and of the code
/// interpreter. It is no use.
const KEEPALIVES: [&[u8]; 3] =
    [b"\0\0\0\0\x1a{\"event\":{\"keepalive\":{}}}", b"\0\0\0\0\x10{\"keepalive\":{}}", b"{\"type\":\"keepalive\"}\n"];

/// An answer from inside: its head and its body. Dropping it tells the inside that nobody reads on.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    line: Line,
    meter: Meter,
    /// What carries the connection, if the answer has one of its own.
    carrier: Option<AbortOnDropHandle<()>>,
}

impl Answer {
    pub(super) fn new(head: response::Parts, body: Incoming, line: Line, meter: Meter) -> Self {
        Self { status: head.status, headers: head.headers, body, line, meter, carrier: None }
    }

    pub(super) fn over(self, carrier: AbortOnDropHandle<()>) -> Self {
        Self { carrier: Some(carrier), ..self }
    }

    /// The body. Its bytes count as use while they move.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let Self { body, line, meter, carrier, .. } = self;
        stream::unfold((body, meter, (line, carrier)), |(mut body, mut meter, kept)| async move {
            loop {
                let data = match body.frame().await? {
                    Ok(frame) => frame.into_data().ok(),
                    Err(error) => return Some((Err(io::Error::other(error)), (body, meter, kept))),
                };
                if let Some(data) = data {
                    if !KEEPALIVES.contains(&&*data) {
                        meter.moved().await;
                    }
                    return Some((Ok(data), (body, meter, kept)));
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
