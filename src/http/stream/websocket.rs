//! The stream over a websocket.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Closed, ProtocolError, Session};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    messages::Message,
    session::{Frame, SEND_WITHIN, StreamSession},
    upstream,
};
use crate::{
    http::{
        error::{ApiError, Code, ErrorAnswer},
        query::StreamQuery,
    },
    sandboxes::{Sandboxes, ServingPhase},
};

/// The subprotocol of this stream, for clients that request one.
const PROTOCOL: &str = "sandglass.v1";
/// Browsers cannot send headers with a websocket, but they can offer subprotocols. This prefix is followed by the API key
/// in base64 for URLs.
pub(in crate::http) const KEY_PROTOCOL: &str = "sandglass.key.";

/// The interval of pings to the client, and how many of them may stay unanswered.
const HEARTBEAT: Duration = Duration::from_secs(15);
const UNANSWERED: u32 = 3;

/// The status stream.
///
/// A websocket: `hello`, a `snapshot` in pages, then every `event`, numbered without gaps. A reader that reconnects with
/// `since` gets exactly what it missed, or a new snapshot. It may send `{"type":"ping","id":ID}` (or `"ids":[…]`), which is
/// answered by `pong`, and `{"type":"subscribe","ids":[…],"statuses":[…],"metadata":{…}}` for another filter. A browser
/// offers the subprotocols `sandglass.v1` and `sandglass.key.` with the API key in base64 for URLs.
#[utoipa::path(get, path = "/v1/stream", operation_id = "stream", tag = "stream",
    params(
        ("since" = Option<String>, Query, description = "`EPOCH:SEQ`, the last event that was seen, with the same filter"),
        ("id" = Option<String>, Query, description = "Only these sandboxes: repeated, or joined by commas"),
        ("status" = Option<String>, Query, description = "Only these statuses, or `all`; left out: what is not gone"),
        ("metadata" = Option<Object>, Query, description = "`metadata.KEY=VALUE`: only with this value of this metadata; repeated: all of them"),
    ),
    responses(
        (status = 101, description = "The stream, in messages of JSON", body = Message),
        (status = 400, description = "`invalid_request`, also when it is no websocket", body = ErrorAnswer),
        (status = 403, description = "`cross_origin`", body = ErrorAnswer),
        (status = 429, description = "`limit_reached`: `http.max_streams` are open", body = ErrorAnswer),
        (status = 503, description = "`standby`, `starting` or `stopping`", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn stream(
    sandboxes: Data<Sandboxes>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let query = StreamQuery::of(&request)?;
    let (response, session, incoming) =
        actix_ws::handle_with_protocols(&request, payload, &[PROTOCOL]).map_err(|error| {
            ApiError::new(
                Code::InvalidRequest,
                format!("{error}: this is a websocket; for plain HTTP there is /v1/events"),
            )
        })?;
    let most = sandboxes.settings().http.max_body_bytes;
    let incoming = incoming.max_frame_size(most).aggregate_continuations().max_continuation_size(most);
    let phase = sandboxes.health().watch_phase();
    let stream = StreamSession::new(sandboxes, &request, query)?;
    actix_web::rt::spawn(Conversation { session, incoming, stream, phase }.hold());
    Ok(response)
}

struct Conversation {
    session: Session,
    incoming: AggregatedMessageStream,
    stream: StreamSession,
    phase: watch::Receiver<ServingPhase>,
}

/// What happens next.
enum Turn {
    Tell(Vec<Frame>),
    Heard(Option<Result<AggregatedMessage, ProtocolError>>),
    Heartbeat,
    Stopping,
}

impl Conversation {
    /// Runs until one of the two sides ends it.
    async fn hold(mut self) {
        let reason = self.talk().await.unwrap_or(None);
        // A client that is gone cannot receive the reason.
        let _ = timeout(SEND_WITHIN, self.session.close(reason)).await;
    }

    /// Returns the reason for closing it.
    async fn talk(&mut self) -> Result<Option<CloseReason>, Closed> {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        let mut unanswered = 0;
        loop {
            let turn = tokio::select! {
                told = self.stream.next() => Turn::Tell(told),
                heard = self.incoming.recv() => Turn::Heard(heard),
                _ = heartbeat.tick() => Turn::Heartbeat,
                _ = self.phase.wait_for(|phase| *phase == ServingPhase::Stopping) => Turn::Stopping,
            };
            match turn {
                Turn::Tell(told) => self.send(told).await?,
                Turn::Heard(None) => return Err(Closed),
                Turn::Heard(Some(Err(error))) => return Ok(Some(because(&error))),
                Turn::Heard(Some(Ok(message))) => {
                    unanswered = 0;
                    if let Some(reason) = self.listen(message).await? {
                        return Ok(Some(reason));
                    }
                }
                Turn::Heartbeat if unanswered == UNANSWERED => {
                    return Ok(Some(close(CloseCode::Policy, "no answer to pings")));
                }
                Turn::Heartbeat => {
                    unanswered += 1;
                    within(self.session.ping(b"")).await?;
                    let position = self.stream.position();
                    self.send(position).await?;
                }
                Turn::Stopping => {
                    let rest = self.stream.rest().await;
                    self.send(rest).await?;
                    return Ok(Some(close(CloseCode::Away, "sandglass is stopping")));
                }
            }
        }
    }

    async fn listen(&mut self, message: AggregatedMessage) -> Result<Option<CloseReason>, Closed> {
        match message {
            AggregatedMessage::Text(text) => {
                let answer = upstream::answer(&mut self.stream, &text).await;
                self.send(answer).await?;
            }
            AggregatedMessage::Ping(bytes) => within(self.session.pong(&bytes)).await?,
            AggregatedMessage::Pong(_) => {}
            AggregatedMessage::Binary(_) => return Ok(Some(close(CloseCode::Unsupported, "only text is understood"))),
            AggregatedMessage::Close(reason) => return Ok(Some(reason.unwrap_or(CloseCode::Normal.into()))),
        }
        Ok(None)
    }

    /// Sends messages. Gives up on a client that reads nothing for too long.
    async fn send(&mut self, told: impl IntoIterator<Item = Frame>) -> Result<(), Closed> {
        for told in told {
            within(self.session.text(told.text)).await?;
        }
        Ok(())
    }
}

async fn within(sent: impl Future<Output = Result<(), Closed>>) -> Result<(), Closed> {
    timeout(SEND_WITHIN, sent).await.unwrap_or(Err(Closed))
}

fn because(error: &ProtocolError) -> CloseReason {
    match error {
        ProtocolError::Overflow => close(CloseCode::Size, "a message may have http.max_body_bytes"),
        _ => close(CloseCode::Protocol, "not a websocket message"),
    }
}

fn close(code: CloseCode, description: &str) -> CloseReason {
    CloseReason { code, description: Some(description.to_owned()) }
}
