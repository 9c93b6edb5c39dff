//! Bodies and addresses of requests to an agent or to a program inside.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::meter::Meter;

/// The body of a request.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A part of a body that is uploaded.
#[derive(Clone, Debug)]
pub enum Part {
    /// Its next bytes.
    Data(Bytes),
    /// It is whole. A channel that closes without it has broken off, so that no half file is taken for a whole one.
    End,
}

/// A body that is known as a whole.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The agent's address; its name is of no matter.
pub(super) fn uri(path: &str) -> hyper::Uri {
    format!("http://agent{path}").parse().unwrap_or_default()
}

/// A body that comes in parts. Its bytes count as use while they move.
pub(super) fn parts_of(parts: mpsc::Receiver<io::Result<Part>>, meter: Meter) -> Body {
    let frames = stream::unfold((parts, meter), |(mut parts, mut meter)| async move {
        let data = match parts.recv().await {
            Some(Ok(Part::Data(data))) => Ok(data),
            Some(Ok(Part::End)) => return None,
            Some(Err(error)) => Err(error),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the upload broke off before its end")),
        };
        meter.moved().await;
        Some((data.map(Frame::data), (parts, meter)))
    });
    StreamBody::new(frames).boxed_unsync()
}
