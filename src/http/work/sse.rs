//! Answers as server-sent events: what a command tells, a log, what changes in a directory.

use std::{convert::Infallible, error::Error, fmt::Display, future::ready, time::Duration};

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
    http::{connection::Link, json::json_bytes},
    sandboxes::{Sandboxes, ServingPhase},
};

const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long it may be silent before a comment shows that it is there: less than proxies wait.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long an answer waits for its first item.
const AT_ONCE: Duration = Duration::from_secs(1);

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

/// The event that tells why a stream breaks off.
pub(super) fn error(error: &impl Display) -> Bytes {
    #[derive(Serialize)]
    struct Failed {
        message: String,
    }
    event(None, "error", &Failed { message: error.to_string() })
}

/// Waits for the first item of a stream, up to a second, so that what fails at once can be refused: once an answer has begun,
/// its status is said. The stream ends after its first error.
///
/// # Errors
///
/// If the first item is one.
pub(super) async fn begun<T: 'static, E: 'static>(
    items: impl Stream<Item = Result<T, E>> + 'static,
) -> Result<impl Stream<Item = Result<T, E>> + Unpin + 'static, E> {
    let until_error =
        items.scan(false, |failed, item| ready((!std::mem::replace(failed, item.is_err())).then_some(item)));
    let mut items = Box::pin(until_error.peekable());
    let fails = matches!(tokio::time::timeout(AT_ONCE, items.as_mut().peek()).await, Ok(Some(Err(_))));
    if fails && let Some(Err(error)) = items.next().await {
        return Err(error);
    }
    Ok(items)
}

/// Answers with a stream of events, until it ends, its client is gone, or Sandglass stops.
pub(super) fn answer(
    request: &HttpRequest,
    sandboxes: &Sandboxes,
    status: StatusCode,
    events: impl Stream<Item = Bytes> + 'static,
) -> HttpResponse {
    let beats = with_heartbeat(Box::pin(events));
    streamed(request, sandboxes, status, "text/event-stream", beats.map(Ok::<_, Infallible>))
}

/// Answers with a body that goes on until it ends, its client is gone, or Sandglass stops. An error breaks it off.
pub(super) fn streamed<E: Error + 'static>(
    request: &HttpRequest,
    sandboxes: &Sandboxes,
    status: StatusCode,
    kind: &'static str,
    body: impl Stream<Item = Result<Bytes, E>> + 'static,
) -> HttpResponse {
    let mut phase = sandboxes.health().watch_phase();
    let link = request.conn_data::<Link>().cloned();
    let over = async move {
        let stops = phase.wait_for(|phase| *phase == ServingPhase::Stopping);
        match link {
            // A client that is gone is not missed by a body in which nothing happens.
            Some(link) => tokio::select! {
                _ = stops => {}
                () = link.ended() => {}
            },
            None => drop(stops.await),
        }
    };
    let chunks = body.take_until(Box::pin(over));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_at_once_is_refused_and_what_fails_later_is_told_last() {
        let refused = begun(stream::iter([Err("no such log"), Ok(1)])).await;
        assert_eq!(refused.err(), Some("no such log"));
        let later = begun(stream::iter([Ok(1), Err("broken"), Ok(2)])).await.ok().unwrap();
        assert_eq!(later.collect::<Vec<_>>().await, [Ok(1), Err("broken")]);
        let empty = begun(stream::iter([Ok::<u8, &str>(0); 0])).await.ok().unwrap();
        assert_eq!(empty.count().await, 0);
        let silent = begun(stream::pending::<Result<u8, &str>>());
        let within = tokio::time::timeout(2 * AT_ONCE, silent).await;
        assert!(within.is_ok_and(|begun| begun.is_ok()), "the answer to a silent one begins");
    }
}
