//! E2B's protocol, as its SDKs speak it: a second surface over the same sandboxes ([design:
//! e2b](crate::design::e2b)). It has its own routes and shape of errors, and neither timers nor state of its own.
//!
//! - `door`: which requests are for the inside of a sandbox;
//! - `data`: passes those on;
//! - `control`: the calls about sandboxes, such as create, connect and kill;
//! - `access`: the tokens of sandboxes;
//! - `extract`, `query`: the parts of requests;
//! - `error`: the shape of errors.

mod access;
mod control;
mod data;
mod door;
mod error;
mod extract;
mod query;

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode};

pub(super) use control::register;
pub(super) use data::{Signers, serve};
pub(super) use door::Door;
pub(super) use error::Refusal;

/// The first parts of the paths that are E2B's, also where nothing is found.
const PARTS: [&str; 6] = ["sandboxes", "v2", "v3", "snapshots", "templates", "volumes"];

/// Whether errors at this path have E2B's shape.
pub(super) fn is_e2b(path: &str) -> bool {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    PARTS.contains(&first)
}

/// All other paths below E2B's.
pub(super) fn unknown(request: &HttpRequest) -> HttpResponse {
    let message = format!("{} {} is not one of the calls that Sandglass has", request.method(), request.path());
    Refusal::new(StatusCode::NOT_FOUND, message).error_response()
}
