//! The calls about sandboxes, beside `/v1`: the same sandboxes in E2B's words.
//!
//! - `create`, `network`: creates a sandbox, changes what it reaches, and refuses what Sandglass does not have;
//! - `life`, `timeouts`: looks at one, moves its timeout, pauses, resumes and ends it;
//! - `list`: lists them;
//! - `snapshots`: takes, lists and removes snapshots, and forks sandboxes;
//! - `metrics`, `logs`: what one uses, and has written;
//! - `answers`: a sandbox as E2B's SDKs read it.

mod answers;
mod create;
mod life;
mod list;
mod logs;
mod metrics;
mod network;
mod snapshots;
mod timeouts;

use std::future::ready;

use actix_web::{
    HttpRequest, Resource, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::{self, ServiceConfig},
};

use super::error::Refusal;

/// Registers the handlers of all paths.
pub(in crate::http) fn register(config: &mut ServiceConfig) {
    config
        .service(
            at("/sandboxes", "GET, POST").route(web::get().to(list::list_v1)).route(web::post().to(create::create_v1)),
        )
        .service(
            at("/v2/sandboxes", "GET, POST")
                .route(web::get().to(list::list_v2))
                .route(web::post().to(create::create_v2)),
        )
        .service(
            at("/sandboxes/{id}", "GET, DELETE").route(web::get().to(life::get)).route(web::delete().to(life::kill)),
        )
        .service(at("/sandboxes/{id}/connect", "POST").route(web::post().to(life::connect_v1)))
        .service(at("/v2/sandboxes/{id}/connect", "POST").route(web::post().to(life::connect_v2)))
        .service(at("/sandboxes/{id}/resume", "POST").route(web::post().to(life::resume)))
        .service(at("/sandboxes/{id}/pause", "POST").route(web::post().to(life::pause)))
        .service(at("/sandboxes/{id}/network", "PUT").route(web::put().to(network::set)))
        .service(at("/sandboxes/{id}/timeout", "POST").route(web::post().to(life::set_timeout)))
        .service(at("/sandboxes/{id}/refreshes", "POST").route(web::post().to(life::refresh)))
        .service(at("/sandboxes/{id}/metrics", "GET").route(web::get().to(metrics::metrics)))
        .service(at("/sandboxes/{id}/logs", "GET").route(web::get().to(logs::logs_v1)))
        .service(at("/v2/sandboxes/{id}/logs", "GET").route(web::get().to(logs::logs_v2)))
        .service(at("/sandboxes/{id}/snapshots", "POST").route(web::post().to(snapshots::take)))
        .service(at("/sandboxes/{id}/fork", "POST").route(web::post().to(snapshots::fork)))
        .service(at("/snapshots", "GET").route(web::get().to(snapshots::list)))
        .service(at("/templates/{template}", "DELETE").route(web::delete().to(snapshots::remove)));
}

/// A path, which answers other methods with those that it has.
fn at(path: &str, allowed: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| {
        let message = format!("{} is not possible here, only {allowed}", request.method());
        let mut refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message).error_response();
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        ready(refusal)
    }))
}
