//! Bodies of answers: whole ones, and streams that somebody writes into a channel.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use serde::Serialize;
use tokio::sync::mpsc;

/// An error of a body. The connection, or the stream of it, ends with it.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A request with its body still to come.
pub(crate) type Request = hyper::Request<Incoming>;

/// An answer.
pub(crate) type Response = hyper::Response<Body>;

/// A body without bytes.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is known as a whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that ends when every sender is gone. An error that is sent breaks the stream off.
///
/// The channel's bound is what holds back a sender whose client reads slowly; `Sender::closed` tells that the client has hung
/// up.
pub(crate) fn channel(bound: usize) -> (mpsc::Sender<Result<Bytes, BodyError>>, Body) {
    let (sender, receiver) = mpsc::channel(bound);
    (sender, begun(None, receiver))
}

/// The same with what was received already.
pub(crate) fn begun(
    first: Option<Result<Bytes, BodyError>>,
    receiver: mpsc::Receiver<Result<Bytes, BodyError>>,
) -> Body {
    Channel { first, receiver }.boxed_unsync()
}

struct Channel {
    first: Option<Result<Bytes, BodyError>>,
    receiver: mpsc::Receiver<Result<Bytes, BodyError>>,
}

impl hyper::body::Body for Channel {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.receiver.poll_recv(context),
        };
        next.map(|next| next.map(|next| next.map(Frame::data)))
    }
}

/// An answer with a JSON body.
pub(crate) fn json(status: u16, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = answer(status, full(body));
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

/// An answer with a body and no headers.
pub(crate) fn answer(status: u16, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// An error outside of Connect's calls: `{"code": STATUS, "message": "…"}`, as E2B's clients read it.
pub(crate) fn error(status: u16, message: &str) -> Response {
    json(status, &serde_json::json!({ "code": status, "message": message }))
}
