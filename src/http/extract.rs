//! Ids in paths.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};

use super::error::{ApiError, Code};
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

/// The command that a path names.
pub(super) struct CommandId(pub(super) String);

impl FromRequest for CommandId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().get("command").unwrap_or_default();
        // No other command was ever begun.
        let known = SandboxId::parse(text).map(|_| Self(text.to_owned()));
        ready(known.map_err(|_| ApiError::new(Code::NotFound, format!("there is no command {text:?}"))))
    }
}
