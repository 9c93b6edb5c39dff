//! Looks at one sandbox, moves its timeout, pauses, resumes and ends it.

use std::time::Duration;

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use serde::Deserialize;

use super::{
    answers::{SandboxAnswer, SandboxDetail},
    timeouts::{self, OLD, RECENT, REFRESH},
};
use crate::{
    domain::{OnTimeout, Sandbox, SandboxId, Status},
    http::{
        e2b::{
            error::Refusal,
            extract::{Body, Id},
        },
        json::json,
    },
    sandboxes::{Connected, RequestError, Sandboxes},
};

/// How long a sandbox is to go on, and whether with its memory.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct ConnectRequest {
    timeout: Option<f64>,
    memory: Option<bool>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct TimeoutRequest {
    timeout: f64,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct RefreshRequest {
    duration: Option<f64>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct PauseRequest {
    memory: Option<bool>,
}

/// Returns a sandbox.
pub(super) async fn get(sandboxes: Data<Sandboxes>, Id(id): Id) -> Result<HttpResponse, Refusal> {
    let sandbox = alive(&sandboxes, &id).await?;
    let now = sandboxes.now();
    Ok(json(StatusCode::OK, &SandboxDetail::of(&sandbox, &sandboxes, &now), 1024))
}

/// Ends a sandbox.
pub(super) async fn kill(sandboxes: Data<Sandboxes>, Id(id): Id) -> Result<HttpResponse, Refusal> {
    alive(&sandboxes, &id).await?;
    end(&sandboxes, &id).await
}

/// Moves the end of a sandbox to `timeout` from now; 0 ends or pauses it at once.
pub(super) async fn set_timeout(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(request): Body<TimeoutRequest>,
) -> Result<HttpResponse, Refusal> {
    if request.timeout == 0.0 {
        return match runs(&sandboxes, &id).await?.rules().on_timeout() {
            OnTimeout::Pause => done(sandboxes.pause(&id).await, &sandboxes),
            _ => end(&sandboxes, &id).await,
        };
    }
    let timeout = timeouts::positive("timeout", request.timeout)?;
    done(sandboxes.set_timeout(&id, timeout).await, &sandboxes)
}

/// Makes sure that a sandbox goes on for `duration` from now.
pub(super) async fn refresh(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(request): Body<RefreshRequest>,
) -> Result<HttpResponse, Refusal> {
    let (least, most) = REFRESH;
    let duration = request.duration.unwrap_or(0.0);
    if !(0.0..=most.as_secs_f64()).contains(&duration) {
        let rule = format!("must be at most {} seconds, not {duration}", most.as_secs());
        return Err(Refusal::field("duration", rule));
    }
    let duration = Duration::from_secs_f64(duration).max(least);
    done(sandboxes.extend(&id, duration).await, &sandboxes)
}

pub(super) async fn connect_v1(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(request): Body<ConnectRequest>,
) -> Result<HttpResponse, Refusal> {
    connect(&sandboxes, &id, &request, OLD).await
}

pub(super) async fn connect_v2(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(request): Body<ConnectRequest>,
) -> Result<HttpResponse, Refusal> {
    connect(&sandboxes, &id, &request, RECENT).await
}

/// Makes sure that a sandbox runs, and goes on for `timeout` from now: resumes it if it is paused.
async fn connect(
    sandboxes: &Sandboxes,
    id: &SandboxId,
    request: &ConnectRequest,
    default: Duration,
) -> Result<HttpResponse, Refusal> {
    must_keep_memory(request.memory)?;
    let timeout = request.timeout.map_or(Ok(default), |seconds| timeouts::positive("timeout", seconds))?;
    let connected = sandboxes.connect(id, timeout).await;
    let (status, sandbox) = match connected.map_err(|error| Refusal::of(&error, &sandboxes.now()))? {
        Connected::Running(sandbox) => (StatusCode::OK, sandbox),
        Connected::Resumed(sandbox) => (StatusCode::CREATED, sandbox),
    };
    Ok(json(status, &SandboxAnswer::of(&sandbox, sandboxes), 512))
}

/// Resumes a paused sandbox, and refuses one that runs.
pub(super) async fn resume(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(request): Body<ConnectRequest>,
) -> Result<HttpResponse, Refusal> {
    must_keep_memory(request.memory)?;
    let timeout = request.timeout.map_or(Ok(OLD), |seconds| timeouts::positive("timeout", seconds))?;
    let _ = sandboxes.steady(&id).await;
    let resumed = sandboxes.resume(&id, timeout).await;
    let sandbox = resumed.map_err(|error| Refusal::of(&error, &sandboxes.now()))?;
    Ok(json(StatusCode::CREATED, &SandboxAnswer::of(&sandbox, &sandboxes), 512))
}

/// Pauses a sandbox, and refuses one that is paused.
pub(super) async fn pause(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(request): Body<PauseRequest>,
) -> Result<HttpResponse, Refusal> {
    must_keep_memory(request.memory)?;
    let _ = sandboxes.steady(&id).await;
    done(sandboxes.pause(&id).await, &sandboxes)
}

/// A pause freezes a sandbox, so that its memory is always kept.
pub(super) fn must_keep_memory(memory: Option<bool>) -> Result<(), Refusal> {
    if memory == Some(false) {
        let rule = "false is not possible: a paused sandbox keeps its memory and its processes";
        return Err(Refusal::field("memory", rule));
    }
    Ok(())
}

/// The sandbox, unless it is ending or has ended: in E2B's eyes there is none then.
pub(super) async fn alive(sandboxes: &Sandboxes, id: &SandboxId) -> Result<Sandbox, Refusal> {
    let found = match sandboxes.get(id).await {
        Ok(sandbox) if !sandbox.is_alive() => Err(RequestError::NotFound(id.clone())),
        found => found,
    };
    found.map_err(|error| Refusal::of(&error, &sandboxes.now()))
}

/// The sandbox, unless it is paused, in which E2B sees none that runs.
async fn runs(sandboxes: &Sandboxes, id: &SandboxId) -> Result<Sandbox, Refusal> {
    let _ = sandboxes.steady(id).await;
    let sandbox = alive(sandboxes, id).await?;
    if sandbox.status() == Status::Paused {
        return Err(Refusal::of(&RequestError::Paused(id.clone()), &sandboxes.now()).not_found());
    }
    Ok(sandbox)
}

async fn end(sandboxes: &Sandboxes, id: &SandboxId) -> Result<HttpResponse, Refusal> {
    done(sandboxes.terminate(id, Duration::ZERO).await, sandboxes)
}

/// The answer to what has no other answer than that it was done.
fn done(outcome: Result<Sandbox, RequestError>, sandboxes: &Sandboxes) -> Result<HttpResponse, Refusal> {
    match outcome {
        Ok(_) => Ok(HttpResponse::NoContent().finish()),
        Err(error @ RequestError::Paused(_)) => Err(Refusal::of(&error, &sandboxes.now()).not_found()),
        Err(error) => Err(Refusal::of(&error, &sandboxes.now())),
    }
}
