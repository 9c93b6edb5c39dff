//! Bodies and addresses of requests to an agent.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

/// The body of a request to an agent.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is known as a whole.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The agent's address; its name is of no matter.
pub(super) fn uri(path: &str) -> hyper::Uri {
    format!("http://agent{path}").parse().unwrap_or_default()
}
