//! Looks at a sandbox, and ends it.

use std::time::Duration;

use actix_web::{HttpResponse, http::StatusCode, web::Data};

use super::answers::SandboxDetail;
use crate::{
    domain::{Sandbox, SandboxId},
    http::{
        e2b::{error::Refusal, extract::Id},
        json::json,
    },
    sandboxes::{RequestError, Sandboxes},
};

/// Returns a sandbox.
pub(super) async fn get(sandboxes: Data<Sandboxes>, Id(id): Id) -> Result<HttpResponse, Refusal> {
    let sandbox = alive(&sandboxes, &id).await?;
    let now = sandboxes.now();
    Ok(json(StatusCode::OK, &SandboxDetail::of(&sandbox, &sandboxes, &now), 1024))
}

/// Ends a sandbox.
pub(super) async fn kill(sandboxes: Data<Sandboxes>, Id(id): Id) -> Result<HttpResponse, Refusal> {
    alive(&sandboxes, &id).await?;
    let ending = sandboxes.terminate(&id, Duration::ZERO).await;
    ending.map_err(|error| Refusal::of(&error, &sandboxes.now()))?;
    Ok(HttpResponse::NoContent().finish())
}

/// The sandbox, unless it is ending or has ended: in E2B's eyes there is none then.
pub(super) async fn alive(sandboxes: &Sandboxes, id: &SandboxId) -> Result<Sandbox, Refusal> {
    let found = match sandboxes.get(id).await {
        Ok(sandbox) if !sandbox.is_alive() => Err(RequestError::NotFound(id.clone())),
        found => found,
    };
    found.map_err(|error| Refusal::of(&error, &sandboxes.now()))
}
