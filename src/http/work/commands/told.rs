//! What a command tells, as events.

use actix_web::web::Bytes;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{Stream, stream};
use serde::Serialize;

use super::{
    super::sse,
    answers::{CommandStatus, signal_name, status_of},
};
use crate::work::{CommandEvent, Events, From, Piece, Stream as Output};

/// What was written, as an event.
#[derive(Serialize)]
struct OutputEvent {
    stream: Output,
    /// The position of its first byte in the stream.
    offset: u64,
    /// How many bytes before it are lost, since nobody read them in time.
    #[serde(skip_serializing_if = "is_zero")]
    dropped: u64,
    /// The bytes as base64.
    data: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct StartedEvent<'a> {
    command_id: &'a str,
    pid: u32,
}

#[derive(Serialize)]
struct EndedEvent {
    status: CommandStatus,
    exit_code: Option<i32>,
    signal: Option<&'static str>,
    timed_out: bool,
}

/// What a command tells, as events.
pub(super) fn told(command: String, events: Events) -> impl Stream<Item = Bytes> + 'static {
    let state = (command, Some(events), From::default());
    stream::unfold(state, |(command, events, mut at)| async move {
        let mut events = events?;
        let event = match events.next().await {
            Ok(Some(CommandEvent::Started(pid))) => {
                sse::event(None, "started", &StartedEvent { command_id: &command, pid })
            }
            Ok(Some(CommandEvent::Output(Piece { stream, offset, dropped, bytes }))) => {
                let end = offset + bytes.len() as u64;
                match stream {
                    Output::Stdout => at.stdout = end,
                    Output::Stderr => at.stderr = end,
                }
                let data = OutputEvent { stream, offset, dropped, data: STANDARD.encode(bytes) };
                sse::event(Some(&format!("{}.{}", at.stdout, at.stderr)), "output", &data)
            }
            Ok(Some(CommandEvent::Ended(ending))) => {
                let ended = EndedEvent {
                    status: status_of(&ending),
                    exit_code: ending.exit_code,
                    signal: ending.signal.map(signal_name),
                    timed_out: ending.timed_out,
                };
                return Some((sse::event(None, "exited", &ended), (command, None, at)));
            }
            Ok(None) => return None,
            Err(error) => return Some((sse::error(&error), (command, None, at))),
        };
        Some((event, (command, Some(events), at)))
    })
}
