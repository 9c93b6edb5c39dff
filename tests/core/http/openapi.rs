//! The specification describes all routes, and only those.

use std::collections::BTreeSet;

use actix_web::http::{Method, header::HeaderName};
use sandglass::{
    domain::{ActivitySource, EndReason, OnTimeout, Status},
    http::ROUTES,
};
use serde_json::{Value, json};

use super::client::start;

/// Every `$ref` below `value`.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(array) => array.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[actix_web::test]
async fn every_route_is_specified_and_every_specified_call_is_a_route() {
    let (_bench, client) = start(&[]).await;
    let specification = client.get("/openapi.json").await;
    let paths = specification.must_succeed(200).json["paths"].as_object().expect("an object");
    let specified: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().expect("an object").keys().map(move |method| (path.clone(), method.to_uppercase()))
        })
        .collect();
    let routed: BTreeSet<_> = ROUTES
        .iter()
        .flat_map(|(path, methods)| methods.iter().map(move |method| ((*path).to_owned(), (*method).to_owned())))
        .collect();
    assert_eq!(specified, routed);
}

#[actix_web::test]
async fn every_reference_leads_somewhere() {
    let (_bench, client) = start(&[]).await;
    let specification = client.get("/openapi.json").await.json;
    let mut found = BTreeSet::new();
    references(&specification, &mut found);
    assert!(found.len() > 8, "{found:?}");
    for reference in found {
        let place = reference.strip_prefix('#').expect("a place in this document");
        assert!(specification.pointer(place).is_some(), "{reference} leads nowhere");
    }
}

#[actix_web::test]
async fn the_schema_of_a_sandbox_has_the_fields_of_a_sandbox() {
    let (_bench, client) = start(&[]).await;
    let created = client.post("/v1/sandboxes", "").await;
    let fields: BTreeSet<_> = created.must_succeed(201).json.as_object().expect("an object").keys().cloned().collect();
    let specification = client.get("/openapi.json").await.json;
    let schema = specification["components"]["schemas"]["Sandbox"]["properties"].as_object().expect("an object");
    let mut specified: BTreeSet<_> = schema.keys().cloned().collect();
    for not_always in ["exit_code", "ended_at", "last_output", "holds", "egress", "template_egress"] {
        assert!(specified.remove(not_always));
    }
    assert_eq!(specified, fields);
}

#[actix_web::test]
async fn the_schema_of_a_create_has_the_fields_that_a_create_takes() {
    let (_bench, client) = start(&[]).await;
    let refused = client.post("/v1/sandboxes", r#"{"no such field": 1}"#).await;
    let message = refused.must_be(400, "invalid_request").json["error"]["message"].as_str().expect("a text");
    let (_, taken) = message.split_once("expected one of ").expect("the fields");
    let taken: BTreeSet<_> = taken.split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
    let specification = client.get("/openapi.json").await.json;
    let schema = specification["components"]["schemas"]["CreateRequest"]["properties"].as_object().expect("an object");
    assert_eq!(schema.keys().cloned().collect::<BTreeSet<_>>(), taken);
}

#[actix_web::test]
async fn the_words_of_the_specification_are_those_on_the_wire() {
    let (_bench, client) = start(&[]).await;
    let specification = client.get("/openapi.json").await;
    let schemas = &specification.json["components"]["schemas"];
    let words = |name: &str| -> Vec<String> {
        let words = schemas[name]["enum"].as_array().unwrap_or_else(|| panic!("{name} has no words"));
        words.iter().map(|word| word.as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!(words("Status"), Status::ALL.iter().map(|status| status.as_str()).collect::<Vec<_>>());
    assert_eq!(words("EndReason"), EndReason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
    assert_eq!(words("OnTimeout"), OnTimeout::ALL.iter().map(|effect| effect.as_str()).collect::<Vec<_>>());
    assert_eq!(words("ActivitySource"), ActivitySource::ALL.iter().map(|source| source.as_str()).collect::<Vec<_>>());
    assert!(words("ErrorCode").contains(&"invalid_request".to_owned()));
    for (name, schema) in schemas.as_object().expect("an object") {
        for word in schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert_eq!(word, word.to_lowercase(), "{name}");
        }
    }
    assert!(!specification.text.contains("design, "), "it cites what its readers do not have");
}

#[actix_web::test]
async fn where_there_is_no_key_none_is_asked_for() {
    let (_bench, client) = start(&[]).await;
    let open = client.get("/openapi.json").await;
    assert!(!open.text.contains("\"security") && !open.text.contains("\"401\""), "{}", open.text);
}

#[actix_web::test]
async fn where_there_is_a_key_it_is_asked_for() {
    let (_bench, client) = start(&[("http.api_key", "open-sesame")]).await;
    let key = HeaderName::from_static("x-api-key");
    let closed = client.with(Method::GET, "/openapi.json", key, "open-sesame").await.json;
    assert_eq!(closed["security"], json!([{ "bearer": [] }, { "api_key": [] }]));
    assert_eq!(closed["paths"]["/healthz"]["get"]["security"], json!([]));
    assert!(closed["paths"]["/v1/sandboxes"]["post"]["security"].is_null());
    assert!(closed["paths"]["/v1/sandboxes"]["post"]["responses"]["401"].is_object());
}

#[actix_web::test]
async fn what_may_be_left_out_is_not_required() {
    let (_bench, client) = start(&[]).await;
    let specification = client.get("/openapi.json").await.json;
    let post = |path: &str| specification["paths"][path]["post"].clone();
    assert_eq!(post("/v1/sandboxes")["requestBody"]["required"], false);
    assert_eq!(post("/v1/sandboxes/{id}/keep-alive")["requestBody"]["required"], false);
    assert_eq!(post("/v1/activity")["requestBody"]["required"], true);
    let schemas = &specification["components"]["schemas"];
    assert_eq!(schemas["BatchResult"]["required"], json!(["sandbox_id", "ok"]));
    assert_eq!(schemas["Sandbox"]["properties"]["user_id"]["type"], json!(["string", "number", "null"]));
    for request in ["CreateRequest", "KeepAliveRequest", "BatchRequest", "Limits", "Ranges", "EgressRequest"] {
        assert_eq!(schemas[request]["additionalProperties"], false, "{request}");
    }
    let wait = &specification["paths"]["/v1/sandboxes/{id}"]["delete"]["parameters"][1];
    assert_eq!((&wait["name"], wait["schema"]["maximum"].as_f64()), (&json!("wait"), Some(300.0)));
}
