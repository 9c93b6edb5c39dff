//! The parts of requests: ids and bodies, with errors in E2B's shape.

use std::future::Ready;

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use futures_util::{FutureExt, future::LocalBoxFuture};
use serde::de::DeserializeOwned;

use super::error::Refusal;
use crate::{
    domain::SandboxId,
    http::{body, extract},
};

/// The sandbox that a path names.
pub(super) struct Id(pub(super) SandboxId);

impl FromRequest for Id {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let id = extract::Id::from_request(request, payload).into_inner();
        std::future::ready(id.map(|extract::Id(id)| Self(id)).map_err(Refusal::from))
    }
}

/// A JSON object as a body; a missing body is an empty object. Fields that `T` does not know are ignored, since newer SDKs
/// send more of them.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let read = body::Body::from_request(request, payload);
        Box::pin(read.map(|read| read.map(|body::Body(value)| Self(value)).map_err(Refusal::from)))
    }
}
