//! Errors: one shape, whoever finds them.

use actix_web::test::TestRequest;
use serde_json::json;

use super::{create, request};
use crate::http::client::start;

#[actix_web::test]
async fn paths_and_methods_that_are_not_there_are_refused_in_the_shape_of_all_errors() {
    let (_bench, client) = start(&[]).await;
    for path in ["/sandboxes/a/b/c", "/v2/nothing", "/v3/templates", "/templates", "/snapshots/a/b", "/volumes"] {
        client.send(request("POST", path)).await.must_refuse(404);
    }
    let refused = client.send(request("PUT", "/sandboxes/a")).await;
    assert_eq!(refused.must_refuse(405).header("allow"), Some("GET, DELETE"));
    // Other paths keep theirs.
    client.get("/nothing").await.must_be(404, "not_found");
    client.get("/sandboxesx").await.must_be(404, "not_found");
}

#[actix_web::test]
async fn without_the_key_nothing_is_answered() {
    let (_bench, client) = start(&[("http.api_key", "e2b_00")]).await;
    client.get("/sandboxes/a").await.must_refuse(401);
    let with = |key: &'static str| TestRequest::get().uri("/sandboxes/a").insert_header(("X-API-Key", key));
    client.send(with("e2b_01")).await.must_refuse(401);
    client.send(with("e2b_00")).await.must_refuse(404);
}

#[actix_web::test]
async fn a_wrong_request_names_the_field_and_an_unknown_one_is_ignored() {
    let (bench, client) = start(&[]).await;
    for (body, field) in [
        ("{}", "templateID"),
        (r#"{"templateID": 1}"#, "templateID"),
        (r#"{"templateID": "base", "timeout": "5"}"#, "timeout"),
        (r#"{"templateID": "base", "timeout": 0}"#, "timeout"),
        (r#"{"templateID": "base", "timeout": -5}"#, "timeout"),
        (r#"{"templateID": "base", "timeout": 1e300}"#, "timeout"),
        (r#"{"templateID": "base", "metadata": {"a": 1}}"#, "metadata.a"),
        (r#"{"templateID": "base", "envVars": {"1A": "x"}}"#, "envVars"),
        (r#"{"templateID": "base", "autoPause": 1}"#, "autoPause"),
        ("[]", "body"),
        ("{", "JSON"),
    ] {
        let refused = client.post("/v2/sandboxes", body).await;
        assert!(refused.must_refuse(400).says().contains(field), "{body}: {}", refused.text);
    }
    assert!(bench.runtime.is_empty());
    create(&client, json!({ "newer": { "a": [1] } })).await.must_succeed(201);
}

#[actix_web::test]
async fn an_unknown_template_is_not_found_and_a_malformed_id_is_refused() {
    let (_bench, client) = start(&[]).await;
    let refused = create(&client, json!({ "templateID": "nothing" })).await;
    assert!(refused.must_refuse(404).says().contains("nothing"));
    client.get("/sandboxes/not%20an%20id").await.must_refuse(400);
    client.delete("/sandboxes/-").await.must_refuse(400);
    client.get("/sandboxes/nobody").await.must_refuse(404);
}

#[actix_web::test]
async fn a_timeout_beyond_the_configured_maximum_is_refused_with_the_limit() {
    let (_bench, client) = start(&[("lifecycle.max_timeout", "3600")]).await;
    let refused = create(&client, json!({ "timeout": 3601 })).await;
    assert!(refused.must_refuse(400).says().contains("3600"), "{}", refused.text);
}
