//! Holds: a sandbox counts as used until its holds are released or run out.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload, http::StatusCode, web::Data};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    answers::SandboxAnswer,
    body::Body,
    error::{ApiError, ErrorAnswer},
    extract::Id,
    sandboxes::sandbox_response,
};
use crate::{
    domain::{
        SandboxId,
        leaf::{Leaf, Timeout},
        sandbox::HoldRequest,
    },
    sandboxes::Sandboxes,
};

/// The longest reason, in characters: it comes back in every list.
const MAX_REASON: usize = 256;

/// The request for a hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct HoldBody {
    /// Seconds from now, more than 0, or a duration such as "30m", after which the hold is over unless it is renewed.
    #[schema(value_type = f64)]
    ttl: Timeout,
    /// What it is for, in at most 256 characters.
    #[schema(max_length = 256)]
    reason: Option<String>,
}

/// The name of a hold in a path, which follows the rule for ids.
pub(super) struct HoldName(Box<str>);

impl FromRequest for HoldName {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().get("hold").unwrap_or_default();
        let name = SandboxId::parse(text).map(|name| Self(name.as_str().into()));
        ready(name.map_err(|invalid| ApiError::id(Some("hold"), &invalid)))
    }
}

/// Takes a hold, or renews it.
///
/// The idle clock stands still while a sandbox is held. A hold is over after `ttl`, so that a client that crashes keeps
/// nothing alive, and survives restarts of Sandglass. A sandbox has at most 16 holds. Counts as use. The active timeout
/// (`on_timeout`) is not affected.
#[utoipa::path(put, path = "/v1/sandboxes/{id}/holds/{hold}", operation_id = "hold", tag = "activity",
    params(
        ("id" = String, Path, description = "The sandbox"),
        ("hold" = String, Path, description = "What its owner calls the hold"),
    ),
    request_body = HoldBody,
    responses(
        (status = 200, description = "It is held; `holds` says by whom and until when", body = SandboxAnswer),
        (status = 429, description = "`limit_reached`: it has 16 holds", body = ErrorAnswer),
    ))]
pub(super) async fn hold(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    HoldName(name): HoldName,
    Body(HoldBody { ttl, reason }): Body<HoldBody>,
) -> Result<HttpResponse, ApiError> {
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        return Err(ApiError::field("reason", format!("at most {MAX_REASON} characters")));
    }
    let held = sandboxes.hold(&id, HoldRequest { name, ttl: ttl.plain(), reason: reason.map(Into::into) }).await;
    sandbox_response(&sandboxes, held, StatusCode::OK)
}

/// Releases a hold. Counts as use: the idle clock starts again from now.
#[utoipa::path(delete, path = "/v1/sandboxes/{id}/holds/{hold}", operation_id = "release", tag = "activity",
    params(
        ("id" = String, Path, description = "The sandbox"),
        ("hold" = String, Path, description = "What its owner calls the hold"),
    ),
    responses(
        (status = 200, description = "It is released", body = SandboxAnswer),
        (status = 404, description = "`not_found`: there is no such sandbox, or it has no such hold", body = ErrorAnswer),
    ))]
pub(super) async fn release(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    HoldName(name): HoldName,
) -> Result<HttpResponse, ApiError> {
    let released = sandboxes.release(&id, &name).await;
    sandbox_response(&sandboxes, released, StatusCode::OK)
}
