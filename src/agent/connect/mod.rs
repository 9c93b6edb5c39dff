//! Connect's protocol with JSON messages: calls with one answer, and streams in either direction.
//!
//! A call with one answer is a plain JSON request and response. In a stream, each message is framed by one byte of flags and
//! its length in four bytes, big-endian; the last frame has flag 2 and tells how the call ended.

mod context;
mod error;
mod frames;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

pub(crate) use self::{
    context::{Context, basic_user},
    error::{Code, Error},
    frames::Messages,
};
use crate::body::{self, BodyError, Request, Response};

/// The longest message that is read, in bytes.
pub(crate) const MESSAGE_BOUND: usize = 16 << 20;

/// The media type of streams.
const STREAM_TYPE: &str = "application/connect+json";

/// The messages that may wait for a client that reads slowly.
const EVENTS_BOUND: usize = 4;

/// Answers a call that has one request and one answer.
pub(crate) async fn unary<Q, A, F>(request: Request, call: impl FnOnce(Context, Q) -> F) -> Response
where
    Q: DeserializeOwned,
    A: Serialize,
    F: Future<Output = Result<A, Error>>,
{
    if !has_type(&request, "application/json") {
        return unsupported("application/json");
    }
    let answered = async {
        let context = Context::of(request.headers())?;
        let timeout = context.timeout;
        let body = Limited::new(request.into_body(), MESSAGE_BOUND).collect().await.map_err(|error| unread(&error))?;
        let question = parse(&body.to_bytes())?;
        within(timeout, call(context, question)).await
    };
    match answered.await {
        Ok(answer) => body::json(200, &answer),
        Err(error) => body::json(error.code.status(), &error),
    }
}

/// Answers a call that has one request and a stream of events.
///
/// The call runs in a task of its own, and is dropped when the client hangs up.
pub(crate) async fn server_stream<Q, F>(
    request: Request,
    call: impl FnOnce(Context, Q, Events) -> F + Send + 'static,
) -> Response
where
    Q: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<(), Error>> + Send,
{
    stream(request, move |context, mut messages: Messages<Q>, events| async move {
        let question = messages.next().await?.ok_or_else(|| Error::invalid("the request has no message"))?;
        call(context, question, events).await
    })
    .await
}

/// Answers a call that has a stream of requests and one answer.
pub(crate) async fn client_stream<Q, A, F>(
    request: Request,
    call: impl FnOnce(Context, Messages<Q>) -> F + Send + 'static,
) -> Response
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + Sync,
    F: Future<Output = Result<A, Error>> + Send,
{
    stream(request, move |context, messages, events| async move {
        let answer = call(context, messages).await?;
        events.send(&answer).await
    })
    .await
}

/// Answers when the call sends its first event or ends, and not before: an answer that comes while a client still prepares its
/// request makes some clients, E2B's for Python among them, leave the request out.
async fn stream<Q, F>(
    request: Request,
    call: impl FnOnce(Context, Messages<Q>, Events) -> F + Send + 'static,
) -> Response
where
    Q: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<(), Error>> + Send,
{
    if !has_type(&request, STREAM_TYPE) {
        return unsupported(STREAM_TYPE);
    }
    let (sender, mut receiver) = mpsc::channel(EVENTS_BOUND);
    tokio::spawn(async move {
        let events = Events(sender.clone());
        let answered = async {
            let context = Context::of(request.headers())?;
            let timeout = context.timeout;
            within(timeout, call(context, Messages::new(request.into_body()), events)).await
        };
        let answered = tokio::select! {
            answered = answered => answered,
            () = sender.closed() => return,
        };
        // The client may have hung up just now.
        _ = sender.send(Ok(frames::last(answered.err().as_ref()))).await;
    });
    let first = receiver.recv().await;
    let mut response = body::answer(200, body::begun(first, receiver));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(STREAM_TYPE));
    response
}

/// Where a call sends its events.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::Sender<Result<Bytes, BodyError>>);

impl Events {
    /// Sends one event. Waits while the client reads slowly.
    ///
    /// # Errors
    ///
    /// `canceled` if the client has hung up.
    pub(crate) async fn send(&self, event: &(impl Serialize + Sync)) -> Result<(), Error> {
        self.0.send(Ok(frames::message(event)?)).await.map_err(|_| Error::hung_up())
    }
}

/// Fails with `deadline_exceeded` if `work` takes longer than the client waits.
async fn within<A>(timeout: Option<Duration>, work: impl Future<Output = Result<A, Error>>) -> Result<A, Error> {
    match timeout {
        None => work.await,
        Some(timeout) => tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
            let message = format!("not done within the {} ms of Connect-Timeout-Ms", timeout.as_millis());
            Err(Error::new(Code::DeadlineExceeded, message))
        }),
    }
}

fn has_type(request: &Request, wanted: &str) -> bool {
    let given = request.headers().get(CONTENT_TYPE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

fn unsupported(wanted: &'static str) -> Response {
    let mut response = body::error(415, &format!("send this call with Content-Type: {wanted}"));
    response.headers_mut().insert("accept-post", HeaderValue::from_static(wanted));
    response
}

/// Reads a message. An empty one has only defaults, as in Proto3.
fn parse<Q: DeserializeOwned>(message: &[u8]) -> Result<Q, Error> {
    let message = if message.is_empty() { b"{}" } else { message };
    serde_json::from_slice(message).map_err(|error| Error::invalid(format!("the message cannot be read: {error}")))
}

fn unread(error: &BodyError) -> Error {
    if error.is::<LengthLimitError>() {
        return too_long();
    }
    Error::new(Code::Canceled, format!("the request broke off: {error}"))
}

fn too_long() -> Error {
    Error::new(Code::ResourceExhausted, format!("a message may have {MESSAGE_BOUND} bytes at most"))
}
