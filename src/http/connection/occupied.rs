//! Answers that occupy their connection until their last byte is written.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    Error, HttpMessage, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Bytes,
};

use super::open::{Link, Occupied};
use crate::http::{
    body::discard,
    error::{ApiError, Code},
};

/// Middleware for calls that last as long as somebody else wants. One too many is refused.
pub(in crate::http) async fn occupying(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match request.conn_data::<Link>().map(Link::occupy).transpose() {
        Ok(occupied) => Ok(next.call(request).await?.map_body(|_, body| occupy(body, occupied))),
        Err(full) => {
            discard(request.take_payload()).await;
            let refusal = ApiError::new(Code::LimitReached, full.to_string()).error_response();
            Ok(request.into_response(refusal))
        }
    }
}

/// The body, which occupies its connection.
pub(in crate::http) fn occupy(body: BoxBody, occupied: Option<Occupied>) -> BoxBody {
    match occupied {
        Some(occupied) => BoxBody::new(Occupying { body, _occupied: occupied }),
        None => body,
    }
}

struct Occupying {
    body: BoxBody,
    _occupied: Occupied,
}

impl MessageBody for Occupying {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}
