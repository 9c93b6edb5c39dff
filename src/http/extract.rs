//! Ids in paths.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};

use super::error::ApiError;
use crate::domain::SandboxId;

/// The sandbox that a path names.
pub(super) struct Id(pub(super) SandboxId);

impl FromRequest for Id {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // What is left of percent-encoding in here is no part of any id.
        let text = request.match_info().get("id").unwrap_or_default();
        ready(SandboxId::parse(text).map(Self).map_err(|invalid| ApiError::id(None, &invalid)))
    }
}
