//! Ids in paths.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};

use super::error::ApiError;
use crate::domain::SandboxId;

/// The id in a path.
pub(super) struct Id(pub(super) SandboxId);

impl FromRequest for Id {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Percent-encoding that is left here is not part of any id.
        let text = request.match_info().get("id").unwrap_or_default();
        ready(SandboxId::parse(text).map(Self).map_err(|invalid| ApiError::id(None, &invalid)))
    }
}
