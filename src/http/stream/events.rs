//! The stream as server-sent events, for clients that only speak HTTP.

use std::{convert::Infallible, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        ConnectionType, Method, Version,
        header::{self, HeaderName, HeaderValue},
    },
    web::{Bytes, Data},
};
use futures_util::stream;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    messages::Message,
    session::{Frame, SEND_WITHIN, StreamSession},
};
use crate::{
    http::{
        error::{ApiError, ErrorAnswer},
        query::StreamQuery,
    },
    sandboxes::{Sandboxes, ServingPhase},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long it is silent before a comment keeps the connection alive: less than proxies wait.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// After how many milliseconds a client is to reconnect.
const RETRY: &str = "retry: 1000\n\n";

/// The status stream as server-sent events.
///
/// The same messages as on the websocket, with their `type` as the event's name. A client that reconnects with
/// `Last-Event-ID`, as browsers do, gets exactly what it missed, or a new snapshot.
#[utoipa::path(get, path = "/v1/events", operation_id = "events", tag = "stream",
    params(
        ("since" = Option<String>, Query, description = "`EPOCH:SEQ`, the last event that was seen, with the same filter"),
        ("Last-Event-ID" = Option<String>, Header, description = "The same; wins over `since`"),
        ("id" = Option<String>, Query, description = "Only these sandboxes: repeated, or joined by commas"),
        ("status" = Option<String>, Query, description = "Only these statuses, or `all`; left out: what is not gone"),
        ("metadata" = Option<Object>, Query, description = "`metadata.KEY=VALUE`: only with this value of this metadata; repeated: all of them"),
    ),
    responses(
        (status = 200, description = "The stream", body = Message, content_type = "text/event-stream"),
        (status = 429, description = "`limit_reached`: `http.max_streams` are open", body = ErrorAnswer),
        (status = 503, description = "`standby`, `starting` or `stopping`", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn events(
    sandboxes: Data<Sandboxes>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = StreamQuery::of(&request)?;
    if let Some(last) = request.headers().get(LAST_EVENT_ID) {
        // A browser sends the last id that it got; an id of another server is ignored.
        query.since = last.to_str().ok().and_then(|last| last.parse().ok());
    }
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")))
        .insert_header((BUFFERING, HeaderValue::from_static("no")));
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let phase = sandboxes.health().watch_phase();
    let session = StreamSession::new(sandboxes, &request, query)?;
    // A channel, because a body is polled only when its client reads, so the body itself could not tell that a client never
    // reads.
    let (sender, receiver) = mpsc::channel(1);
    actix_web::rt::spawn(SseWriter { session, phase, sender }.tell());
    let chunks = stream::unfold(receiver, |mut receiver| async {
        let chunk: Bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(chunk), receiver))
    });
    let mut response = response.streaming(chunks);
    if request.version() == Version::HTTP_10 {
        // HTTP/1.0 has no chunks, so the body ends with the connection.
        response.head_mut().no_chunking(true);
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

struct SseWriter {
    session: StreamSession,
    phase: watch::Receiver<ServingPhase>,
    sender: mpsc::Sender<Bytes>,
}

impl SseWriter {
    /// Sends until the client disconnects, reads nothing for too long, or Sandglass stops.
    async fn tell(mut self) {
        let mut sent = self.send(Bytes::from_static(RETRY.as_bytes())).await;
        while sent {
            let (told, last) = tokio::select! {
                told = self.session.next() => (told, false),
                () = sleep(HEARTBEAT) => (self.session.position().into_iter().collect(), false),
                () = self.sender.closed() => return,
                _ = self.phase.wait_for(|phase| *phase == ServingPhase::Stopping) => (Vec::new(), true),
            };
            let told = if last { self.session.rest().await } else { told };
            // Without events, a comment keeps the connection alive.
            let chunk = if told.is_empty() { Bytes::from_static(b":\n\n") } else { self.write(&told).into() };
            sent = self.send(chunk).await && !last;
        }
    }

    async fn send(&self, chunk: Bytes) -> bool {
        timeout(SEND_WITHIN, self.sender.send(chunk)).await.is_ok_and(|sent| sent.is_ok())
    }

    fn write(&self, told: &[Frame]) -> String {
        let mut chunk = String::with_capacity(told.iter().map(|told| told.text.len() + 64).sum());
        for Frame { kind, text, seq } in told {
            if let Some(seq) = seq {
                chunk.push_str(&format!("id: {}:{seq}\n", self.session.epoch()));
            }
            // This JSON has no line breaks.
            chunk.push_str(&format!("event: {kind}\ndata: {text}\n\n"));
        }
        chunk
    }
}
