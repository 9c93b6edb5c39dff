//! The layer between sockets and the HTTP library:
//!
//! - `stream`: the socket as the library reads and writes it;
//! - `head`: makes a `POST` over HTTP/1.0 without a length acceptable;
//! - `refusal`: gives the library's own errors the shape of all errors;
//! - `open`: the open connections of one worker, which make room for new ones;
//! - `occupied`: answers that occupy their connection.

mod head;
mod occupied;
mod open;
mod refusal;
mod stream;

pub(super) use occupied::{occupy, occupying};
pub(super) use open::{Full, Link, Occupied, Open};
pub(super) use stream::Connection;
