//! Answers as server-sent events: what a command tells, a log, what changes in a directory.

use std::{convert::Infallible, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        ConnectionType, StatusCode, Version,
        header::{self, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;

use crate::{
    http::json::json_bytes,
    sandboxes::{Sandboxes, ServingPhase},
};

const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long it may be silent before a comment shows that it is there: less than proxies wait.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Whether the client asks for events.
pub(super) fn wanted(request: &HttpRequest) -> bool {
    let accept = request.headers().get_all(header::ACCEPT);
    accept.filter_map(|accept| accept.to_str().ok()).any(|accept| accept.contains("text/event-stream"))
}

/// One event.
pub(super) fn event(id: Option<&str>, kind: &str, data: &impl Serialize) -> Bytes {
    let mut text = Vec::with_capacity(256);
    if let Some(id) = id {
        text.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    text.extend_from_slice(format!("event: {kind}\ndata: ").as_bytes());
    // JSON as it is written here has no line breaks.
    text.extend_from_slice(&json_bytes(data, 256));
    text.extend_from_slice(b"\n\n");
    text.into()
}

/// Answers with a stream of events, until it ends, its client is gone, or Sandglass stops.
pub(super) fn answer(
    request: &HttpRequest,
    sandboxes: &Sandboxes,
    status: StatusCode,
    events: impl Stream<Item = Bytes> + 'static,
) -> HttpResponse {
    let beats = with_heartbeat(Box::pin(events));
    streamed(request, sandboxes, status, "text/event-stream", beats)
}

/// Answers with a body that goes on until it ends, its client is gone, or Sandglass stops.
pub(super) fn streamed(
    request: &HttpRequest,
    sandboxes: &Sandboxes,
    status: StatusCode,
    kind: &'static str,
    body: impl Stream<Item = Bytes> + 'static,
) -> HttpResponse {
    let mut phase = sandboxes.health().watch_phase();
    let stops = async move {
        let _ = phase.wait_for(|phase| *phase == ServingPhase::Stopping).await;
    };
    let chunks = body.take_until(Box::pin(stops)).map(Ok::<_, Infallible>);
    let mut response = HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(kind)))
        .insert_header((BUFFERING, HeaderValue::from_static("no")))
        .streaming(chunks);
    if request.version() == Version::HTTP_10 {
        // Such a client knows no chunks: the body ends where the connection does.
        response.head_mut().no_chunking(true);
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}

fn with_heartbeat(events: impl Stream<Item = Bytes> + Unpin + 'static) -> impl Stream<Item = Bytes> + 'static {
    stream::unfold(events, |mut events| async move {
        match tokio::time::timeout(HEARTBEAT, events.next()).await {
            Ok(Some(event)) => Some((event, events)),
            Ok(None) => None,
            Err(_elapsed) => Some((Bytes::from_static(b":\n\n"), events)),
        }
    })
}
