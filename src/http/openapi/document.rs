//! The document, which is derived from the handlers and types.

use std::sync::OnceLock;

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderValue},
    web::{Bytes, Data},
};
use serde_json::Value;
use utoipa::OpenApi;

use super::{
    super::{
        activity, create, egress, health, holds, page, sandboxes, stream, why,
        work::{commands, files, logs, stats},
    },
    calls, requests,
};
use crate::{
    config::Settings,
    domain::{egress::Ranges, spec::Limits},
    sandboxes::Sandboxes,
};

/// The derived part.
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
        egress::set,
        holds::hold,
        holds::release,
        activity::ping,
        activity::ping_many,
        why::why,
        commands::list,
        commands::run,
        commands::get,
        commands::input,
        commands::signal,
        commands::resize,
        files::read,
        files::write,
        files::remove,
        files::rename,
        files::watch,
        logs::logs,
        stats::stats,
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
    // `CreateRequest`, which is written by hand, refers to these.
    components(schemas(Limits, Ranges)),
    tags(
        (name = "sandboxes", description = "Creating, finding and ending them"),
        (name = "activity", description = "Keeping them"),
        (name = "work", description = "Working in them"),
        (name = "stream", description = "Watching them"),
        (name = "operation", description = "How Sandglass itself is"),
        (name = "pages", description = "For people"),
    ),
)]
struct Specification;

/// The specification of this instance, written at the first request. It does not change while the process runs.
#[derive(Default)]
pub(in crate::http) struct Document(OnceLock<Bytes>);

impl Document {
    fn json(&self, settings: &Settings) -> Bytes {
        self.0.get_or_init(|| document(settings).to_string().into()).clone()
    }
}

fn document(settings: &Settings) -> Value {
    // Schemas consist of strings, numbers and maps, so they can always be serialized.
    let mut document = serde_json::to_value(Specification::openapi()).unwrap_or_default();
    calls::complete(&mut document, settings.http.api_key.is_some());
    requests::narrow(&mut document, settings);
    document
}

/// This specification.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
pub(in crate::http) async fn specification(document: Data<Document>, sandboxes: Data<Sandboxes>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .body(document.json(sandboxes.settings()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    /// The specification of an instance with these settings over the defaults.
    fn with(overrides: &[(&str, &str)]) -> Value {
        let mut flags = Overrides::default();
        for (key, value) in overrides {
            flags.set(*key, *value, "a test");
        }
        document(&Settings::load(None, [], flags).unwrap())
    }

    #[test]
    fn what_a_request_may_ask_for_is_what_this_configuration_allows() {
        let create = |document: &Value, field: &str| {
            document["components"]["schemas"]["CreateRequest"]["properties"][field].clone()
        };
        let defaults = with(&[]);
        assert_eq!(create(&defaults, "template")["oneOf"][0]["enum"], serde_json::json!(["base"]));
        assert_eq!(create(&defaults, "idle_timeout")["type"], serde_json::json!(["number", "string"]));
        let other = with(&[
            ("templates.python.image", "python:3"),
            ("lifecycle.allow_no_idle_timeout", "true"),
            ("lifecycle.max_timeout", "600"),
            ("docker.allowed_images", "[\"ghcr.io/acme/*\", \"a(b\"]"),
        ]);
        assert_eq!(create(&other, "shell_type")["oneOf"][0]["enum"], serde_json::json!(["base", "python"]));
        assert_eq!(create(&other, "idle_timeout")["type"], serde_json::json!(["number", "string", "null"]));
        assert_eq!(create(&other, "timeout")["maximum"], 600.0);
        let images = create(&other, "image")["pattern"].to_string();
        assert!(images.contains(r"ghcr\\.io/acme/[") && images.contains("python:3"), "{images}");
        assert!(images.contains(r"a\\(b"), "{images}");
    }
}
