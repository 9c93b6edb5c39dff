//! The handlers for one sandbox, and the list.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    answers::{PING_CAPACITY, PingAnswer, SANDBOX_CAPACITY, SandboxAnswer},
    body::{Body, NoBody},
    connection::Link,
    error::{ApiError, ErrorAnswer},
    extract::Id,
    json::json,
    query::{ListQuery, wait_for_end},
};
use crate::{
    domain::{
        Sandbox, SandboxId,
        leaf::{Leaf, Timeout},
    },
    sandboxes::{RequestError, Sandboxes, ServingPhase},
};

/// A page of sandboxes, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListAnswer<'a> {
    /// The sandboxes.
    sandboxes: Vec<SandboxAnswer<'a>>,
    /// The cursor of the next page; null after the last one.
    #[schema(value_type = Option<String>)]
    next_cursor: Option<&'a SandboxId>,
}

/// Moves the active timeout.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct KeepAliveRequest {
    /// Seconds from now, more than 0, or a duration such as "30m"; by default, the sandbox's own active timeout.
    #[schema(value_type = Option<f64>)]
    timeout: Option<Timeout>,
}

/// Lists sandboxes.
///
/// Sandboxes that are gone are listed only if `status` asks for them.
#[utoipa::path(get, path = "/v1/sandboxes", operation_id = "list_sandboxes", tag = "sandboxes",
    params(
        ("status" = Option<String>, Query, description = "Only these statuses: repeated, or joined by commas"),
        ("metadata" = Option<Object>, Query, description = "`metadata.KEY=VALUE`: only with this value of this metadata; repeated: all of them"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1000; 100 when it is left out"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = ListAnswer),
        (status = 503, description = "`standby` or `starting`: not all of them are known yet", body = ErrorAnswer),
    ))]
pub(super) async fn list(sandboxes: Data<Sandboxes>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let ListQuery { filter, after, limit } = ListQuery::of(&request)?;
    // A client that compares an incomplete list with its own would take missing sandboxes for gone.
    let unknown = match sandboxes.health().phase() {
        ServingPhase::Standby => Some(RequestError::Standby),
        ServingPhase::Starting => Some(RequestError::Starting),
        ServingPhase::Ready | ServingPhase::Stopping => None,
    };
    if let Some(error) = unknown {
        return Err(ApiError::of(&error, &sandboxes.now()));
    }
    let listing = sandboxes.list(&filter, after.as_ref(), limit).await;
    let now = sandboxes.now();
    let sandboxes: Vec<_> = listing.sandboxes.iter().map(|sandbox| SandboxAnswer::of(sandbox, &now)).collect();
    let capacity = SANDBOX_CAPACITY * (sandboxes.len() + 1);
    Ok(json(StatusCode::OK, &ListAnswer { sandboxes, next_cursor: listing.next.as_ref() }, capacity))
}

/// Returns a sandbox.
///
/// Also one that has ended, until the end of its retention.
#[utoipa::path(get, path = "/v1/sandboxes/{id}", operation_id = "get_sandbox", tag = "sandboxes",
    params(("id" = String, Path, description = "The sandbox")),
    responses((status = 200, description = "The sandbox", body = SandboxAnswer)))]
pub(super) async fn get(sandboxes: Data<Sandboxes>, Id(id): Id) -> Result<HttpResponse, ApiError> {
    let sandbox = sandboxes.get(&id).await;
    sandbox_response(&sandboxes, sandbox, StatusCode::OK)
}

/// Ends a sandbox.
///
/// Answers at once. With `wait`, answers when the container is gone or that time has passed; earlier if the client
/// disconnects or connections run short.
#[utoipa::path(delete, path = "/v1/sandboxes/{id}", operation_id = "delete_sandbox", tag = "sandboxes",
    params(
        ("id" = String, Path, description = "The sandbox"),
        ("wait" = Option<f64>, Query, minimum = 0, maximum = 300, description = "How long to wait for its end: seconds, up to 300, or a duration such as `2m`"),
    ),
    responses(
        (status = 202, description = "It is on its way out", body = SandboxAnswer),
        (status = 200, description = "It is gone", body = SandboxAnswer),
        (status = 410, description = "`gone`: it had ended before", body = ErrorAnswer),
    ))]
pub(super) async fn delete(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let wait = wait_for_end(&request)?;
    let ending = match request.conn_data::<Link>() {
        // A client that waits must not keep others from connecting, so the wait ends first when connections run short.
        Some(link) if !wait.is_zero() => tokio::select! {
            biased;
            ending = sandboxes.terminate(&id, wait) => ending,
            () = link.ended() => sandboxes.terminate(&id, Duration::ZERO).await,
        },
        _ => sandboxes.terminate(&id, wait).await,
    };
    let gone = ending.as_ref().is_ok_and(|sandbox| sandbox.is_gone());
    sandbox_response(&sandboxes, ending, if gone { StatusCode::OK } else { StatusCode::ACCEPTED })
}

/// Moves the end of the active timeout to `timeout` from now; counts as use.
#[utoipa::path(post, path = "/v1/sandboxes/{id}/keep-alive", operation_id = "keep_alive", tag = "activity",
    params(("id" = String, Path, description = "The sandbox")),
    request_body(content = KeepAliveRequest, description = "No body at all: by the sandbox's own active timeout"),
    responses((status = 200, description = "It is active until `expires_at`", body = SandboxAnswer)))]
pub(super) async fn keep_alive(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(KeepAliveRequest { timeout }): Body<KeepAliveRequest>,
) -> Result<HttpResponse, ApiError> {
    let kept = sandboxes.keep_alive(&id, timeout.plain()).await;
    sandbox_response(&sandboxes, kept, StatusCode::OK)
}

/// Sends a heartbeat from inside the sandbox, which is not use.
#[utoipa::path(post, path = "/v1/sandboxes/{id}/heartbeat", operation_id = "heartbeat", tag = "activity",
    params(("id" = String, Path, description = "The sandbox")),
    responses((status = 200, description = "The deadlines, which this does not move", body = PingAnswer)))]
pub(super) async fn heartbeat(sandboxes: Data<Sandboxes>, Id(id): Id, _: NoBody) -> Result<HttpResponse, ApiError> {
    let living = sandboxes.heartbeat(&id).await;
    let now = sandboxes.now();
    match living {
        Ok(sandbox) => Ok(json(StatusCode::OK, &PingAnswer::of(&sandbox, &now), PING_CAPACITY)),
        Err(error) => Err(ApiError::of(&error, &now)),
    }
}

/// Pauses a sandbox: freezes its container.
#[utoipa::path(post, path = "/v1/sandboxes/{id}/pause", operation_id = "pause_sandbox", tag = "sandboxes",
    params(("id" = String, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "It is paused, and its idle clock stands still", body = SandboxAnswer),
        (status = 409, description = "`wrong_state`, `terminating`", body = ErrorAnswer),
        (status = 502, description = "`runtime_failed`", body = ErrorAnswer),
    ))]
pub(super) async fn pause(sandboxes: Data<Sandboxes>, Id(id): Id, _: NoBody) -> Result<HttpResponse, ApiError> {
    let paused = sandboxes.pause(&id).await;
    sandbox_response(&sandboxes, paused, StatusCode::OK)
}

/// Resumes a sandbox: thaws its container. Counts as use.
#[utoipa::path(post, path = "/v1/sandboxes/{id}/resume", operation_id = "resume_sandbox", tag = "sandboxes",
    params(("id" = String, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "It runs", body = SandboxAnswer),
        (status = 409, description = "`wrong_state`, `terminating`", body = ErrorAnswer),
        (status = 502, description = "`runtime_failed`", body = ErrorAnswer),
    ))]
pub(super) async fn resume(sandboxes: Data<Sandboxes>, Id(id): Id, _: NoBody) -> Result<HttpResponse, ApiError> {
    let resumed = sandboxes.resume(&id, None).await;
    sandbox_response(&sandboxes, resumed, StatusCode::OK)
}

/// Answers with a sandbox.
pub(super) fn sandbox_response(
    sandboxes: &Sandboxes,
    outcome: Result<Sandbox, RequestError>,
    status: StatusCode,
) -> Result<HttpResponse, ApiError> {
    let now = sandboxes.now();
    match outcome {
        Ok(sandbox) => Ok(json(status, &SandboxAnswer::of(&sandbox, &now), SANDBOX_CAPACITY)),
        Err(error) => Err(ApiError::of(&error, &now)),
    }
}
