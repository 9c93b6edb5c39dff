//! What is passed on of an answer. It goes on until its end, or until its client is gone or Sandglass stops.

use std::{io, pin::Pin};

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{
        ConnectionType, StatusCode, Version,
        header::{HeaderName, HeaderValue},
    },
    web::Bytes,
};
use futures_util::{Stream, StreamExt, stream};

use crate::{
    http::{
        connection::{Full, Link, Occupied},
        upload::Upload,
    },
    sandboxes::{Sandboxes, ServingPhase},
    work::Answer,
};

type Body = Pin<Box<dyn Stream<Item = io::Result<Bytes>>>>;

/// The client of a request, as far as it can be watched.
#[derive(Clone)]
pub(super) struct Client(Option<Link>);

impl Client {
    pub(super) fn of(request: &HttpRequest) -> Self {
        Self(request.conn_data::<Link>().cloned())
    }

    /// Resolves when it is gone.
    pub(super) async fn gone(&self) {
        match &self.0 {
            Some(link) => link.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Occupies its connection.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn occupy(&self) -> Result<Option<Occupied>, Full> {
        self.0.as_ref().map(Link::occupy).transpose()
    }
}

/// Resolves when Sandglass stops.
pub(super) fn stops(sandboxes: &Sandboxes) -> impl Future<Output = ()> + use<> {
    let mut phase = sandboxes.health().watch_phase();
    async move {
        let _ = phase.wait_for(|phase| *phase == ServingPhase::Stopping).await;
    }
}

/// The answer, over `client`'s connection. The upload goes on until the answer has ended.
pub(super) fn passed_on(
    request: &HttpRequest,
    sandboxes: &Sandboxes,
    client: Client,
    answer: Answer,
    upload: Option<Upload>,
) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    copy(&answer.headers, &mut response);
    let length = answer.headers.get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let without_body = *request.method() == actix_web::http::Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = match (length, without_body) {
        (Some(length), true) => {
            response.no_chunking(length).body(SizedStream::new(length, stream::empty::<io::Result<_>>()))
        }
        (None, true) => response.finish(),
        (length, false) => {
            let body = until_over(answer, client, upload, length.is_none().then(|| stops(sandboxes)));
            match length {
                Some(length) => response.body(SizedStream::new(length, body)),
                None => response.streaming(body),
            }
        }
    };
    if length.is_none() && !without_body && request.version() == Version::HTTP_10 {
        // Such a client knows no chunks: the body ends where the connection does.
        response.head_mut().no_chunking(true);
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}

/// Copies the headers that the server does not write itself.
pub(super) fn copy(from: &hyper::HeaderMap, to: &mut actix_web::HttpResponseBuilder) {
    for (name, value) in from {
        if matches!(name.as_str(), "content-length" | "connection" | "upgrade") {
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_str().as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            to.append_header((name, value));
        }
    }
}

/// The body. If it does not come to its end, it ends with an error, so that nobody takes it for whole.
fn until_over(
    answer: Answer,
    client: Client,
    upload: Option<Upload>,
    stops: Option<impl Future<Output = ()> + 'static>,
) -> Body {
    let over = async move {
        let stops = async {
            match stops {
                Some(stops) => stops.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = client.gone() => "the client is gone",
            () = stops => "Sandglass stops",
        }
    };
    let (body, over) = (Box::pin(answer.into_stream()), Box::pin(over));
    let parts = stream::unfold(Some((body, over, upload)), |state| async move {
        let (mut body, mut over, kept) = state?;
        tokio::select! {
            biased;
            why = &mut over => Some((Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)), None)),
            part = body.next() => match part? {
                Ok(part) => Some((Ok(part), Some((body, over, kept)))),
                Err(error) => Some((Err(error), None)),
            },
        }
    });
    Box::pin(parts)
}
