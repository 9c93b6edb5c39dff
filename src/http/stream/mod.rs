//! The status stream ([design: stream](crate::design::stream)), over a websocket and as server-sent events.
//!
//! - `messages`: what is said on it;
//! - `session`: what to say next to one reader: a snapshot page by page, then events, and a new snapshot when it lags;
//! - `upstream`: what readers say: pings, another filter;
//! - `websocket`, `events`: the two ways.

mod events;
mod messages;
mod session;
mod upstream;
mod websocket;

pub(super) use events::{__path_events, events};
pub(super) use websocket::{__path_stream, KEY_PROTOCOL, stream};
