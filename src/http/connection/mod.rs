//! What stands between a socket and the HTTP library:
//!
//! - `stream`: the socket as the library reads and writes it;
//! - `head`: makes a ping of a `POST` over HTTP/1.0 that does not say how long its body is;
//! - `refusal`: gives the library's own refusals the one shape of errors;
//! - `open`: the open connections of one worker, which make room for new ones.

mod head;
mod open;
mod refusal;
mod stream;

pub(super) use open::{Held, Link, Open};
pub(super) use stream::Connection;
