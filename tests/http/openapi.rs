//! The specification says what is there, and all of it.

use std::collections::BTreeSet;

use sandglass::http::ROUTES;
use serde_json::Value;

use crate::client::start;

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
    for only_when_ended in ["exit_code", "ended_at"] {
        assert!(specified.remove(only_when_ended));
    }
    assert_eq!(specified, fields);
}
