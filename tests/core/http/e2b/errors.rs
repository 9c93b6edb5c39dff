//! Errors have one shape, wherever they are found.

use std::time::Duration;

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
        (r#"{"templateID": "base", "autoPauseMemory": false}"#, "memory"),
        (r#"{"templateID": "base", "autoResume": {}}"#, "autoResume.enabled"),
        (r#"{"templateID": "base", "network": {"maskRequestHost": "a b"}}"#, "network.maskRequestHost"),
        (r#"{"templateID": "base", "network": {"allowPublicTraffic": "no"}}"#, "network.allowPublicTraffic"),
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
async fn what_sandglass_does_not_have_is_refused_and_never_taken_without_a_word() {
    let (bench, client) = start(&[]).await;
    for (more, field) in [
        (json!({ "network": { "allowOut": ["example.com"] } }), "network.allowOut"),
        (json!({ "network": { "denyOut": ["*"] } }), "network.denyOut"),
        (json!({ "network": { "dnsServers": ["203.0.113.7"] } }), "network.dnsServers"),
        (json!({ "network": { "egressProxy": { "address": "203.0.113.7:1080" } } }), "network.egressProxy"),
        (json!({ "network": { "rules": { "a": [] } } }), "network.rules"),
        (json!({ "mcp": { "browser": {} } }), "mcp"),
        (json!({ "iam": { "tokens": {} } }), "iam"),
        (json!({ "volumeMounts": [{ "name": "v", "path": "/v" }] }), "volumeMounts"),
    ] {
        let refused = create(&client, more).await;
        assert!(refused.must_refuse(400).says().starts_with(field), "{}", refused.text);
    }
    assert!(bench.runtime.is_empty());
    let nothing = json!({
        "allow_internet_access": true, "mcp": null, "iam": {}, "volumeMounts": [],
        "network": { "allowOut": [], "denyOut": [], "allowPublicTraffic": null },
    });
    create(&client, nothing).await.must_succeed(201);
}

#[actix_web::test]
async fn what_can_be_tried_again_is_said_only_while_there_is_no_container() {
    let (bench, client) = start(&[("docker.max_sandboxes", "1")]).await;
    bench.runtime.engine_stops();
    bench.until(Duration::from_secs(120), || bench.supervisor.health().runtime().is_down()).await;
    let refused = create(&client, json!({})).await;
    assert!(refused.must_refuse(503).header("retry-after").is_some());
    bench.runtime.engine_starts(true);
    bench.until(Duration::from_secs(120), || !bench.supervisor.health().runtime().is_down()).await;
    create(&client, json!({})).await.must_succeed(201);
    let full = create(&client, json!({})).await;
    let seconds = full.must_refuse(429).header("retry-after").expect("a time");
    assert!(seconds.parse::<u32>().is_ok(), "{seconds}");
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
