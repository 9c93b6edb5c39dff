//! The calls about sandboxes, beside `/v1`: the same sandboxes in E2B's words.
//!
//! - `create`: creates a sandbox;
//! - `life`: looks at one, and ends it;
//! - `answers`: a sandbox as E2B's SDKs read it.

mod answers;
mod create;
mod life;

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
        .service(at("/sandboxes", "POST").route(web::post().to(create::create_v1)))
        .service(at("/v2/sandboxes", "POST").route(web::post().to(create::create_v2)))
        .service(
            at("/sandboxes/{id}", "GET, DELETE").route(web::get().to(life::get)).route(web::delete().to(life::kill)),
        );
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
