//! The status stream ([design: stream](crate::design::stream)), over a websocket and as server-sent events.
//!
//! - `messages`: the messages to readers;
//! - `session`: the next messages for a reader: a snapshot page by page, then events, and a new snapshot when it lags;
//! - `upstream`: the messages of readers: pings, and another filter;
//! - `websocket`, `events`: the two transports.

mod events;
mod messages;
mod session;
mod upstream;
mod websocket;

pub(super) use events::{__path_events, events};
pub(super) use websocket::{__path_stream, KEY_PROTOCOL, stream};
