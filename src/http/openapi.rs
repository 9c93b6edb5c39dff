//! The specification, from the handlers and types themselves.

use std::sync::LazyLock;

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderValue},
    web::Bytes,
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        SecurityRequirement,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};

use super::{activity, create, health, page, sandboxes, stream, why};

/// The whole specification.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sandglass",
        description = "Supervises sandboxes: every container lives as long as it is used, and not a minute longer.",
    ),
    paths(
        create::create,
        sandboxes::list,
        sandboxes::get,
        sandboxes::delete,
        sandboxes::pause,
        sandboxes::resume,
        sandboxes::keep_alive,
        sandboxes::heartbeat,
        activity::ping,
        activity::ping_many,
        why::why,
        stream::stream,
        stream::events,
        health::healthz,
        health::readyz,
        health::metrics,
        specification,
        page::dashboard,
        page::docs,
        page::asset,
    ),
    tags(
        (name = "sandboxes", description = "Creating, finding and ending them"),
        (name = "activity", description = "Keeping them"),
        (name = "stream", description = "Watching them"),
        (name = "operation", description = "How Sandglass itself is"),
        (name = "pages", description = "For people"),
    ),
    modifiers(&Keys),
)]
pub struct Specification;

/// The two ways to present the API key. Without a configured one, nothing is asked for.
struct Keys;

impl Modify for Keys {
    fn modify(&self, specification: &mut utoipa::openapi::OpenApi) {
        let components = specification.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("bearer", bearer);
        let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        components.add_security_scheme("api_key", header);
        let none: [&str; 0] = [];
        specification.security =
            Some(vec![SecurityRequirement::new("bearer", none), SecurityRequirement::new("api_key", none)]);
    }
}

/// It never changes while the process runs.
static JSON: LazyLock<Bytes> = LazyLock::new(|| Specification::openapi().to_json().unwrap_or_default().into());

/// This specification.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
pub(super) async fn specification() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .body(JSON.clone())
}
