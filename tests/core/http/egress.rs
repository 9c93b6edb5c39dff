//! What sandboxes may reach.

use std::time::Duration;

use actix_web::test::TestRequest;
use sandglass::{
    domain::egress::Egress,
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
};
use serde_json::json;

use super::{
    bench::{Bench, id},
    client::{Answer, Client, start},
};

const WALLED: (&str, &str) = ("docker.network", "isolated");
const SHUT: &str = r#"{"deny": ["0.0.0.0/0", "::/0"], "allow": ["203.0.113.7"]}"#;

async fn put(client: &Client, body: &str) -> Answer {
    let request = TestRequest::put().uri("/v1/sandboxes/a/egress").set_payload(body.to_owned());
    client.send(request.insert_header(("content-type", "application/json"))).await
}

fn rules(bench: &Bench) -> Egress {
    bench.runtime.rules_of(&id("a")).expect("it has rules in force")
}

fn egress(json: &str) -> Egress {
    serde_json::from_str(json).expect("rules")
}

#[actix_web::test]
async fn rules_of_template_and_request_are_in_force_shown_and_kept_across_a_crash_and_a_lost_record() {
    let overrides = [WALLED, ("templates.base.egress.allow", r#"["10.1.0.0/16"]"#)];
    let (bench, client) = start(&overrides).await;
    let create = r#"{"id": "a", "egress": {"deny": ["198.51.100.9/24"], "allow": ["198.51.100.1"]}}"#;
    let made = client.post("/v1/sandboxes", create).await;
    let shown = json!({ "allow": ["198.51.100.1/32"], "deny": ["198.51.100.0/24"] });
    assert_eq!(made.must_succeed(201).json["egress"], shown);
    assert_eq!(made.json["template_egress"], json!({ "allow": ["10.1.0.0/16"], "deny": [] }));
    assert_eq!(made.json["network"], "isolated");
    let asked = egress(
        r#"{"template": {"allow": ["10.1.0.0/16"]},
            "request": {"allow": ["198.51.100.1/32"], "deny": ["198.51.100.0/24"]}}"#,
    );
    assert_eq!(rules(&bench), asked);

    let bench = bench.crash_and_restart().await;
    let client = Client::of(&bench.supervisor).await;
    assert_eq!(client.get("/v1/sandboxes/a").await.json["egress"], shown);
    bench.runtime.flush_rules();
    bench.until(Duration::from_secs(61), || bench.runtime.rules_of(&id("a")) == Some(asked.clone())).await;

    // Without a record, the labels tell.
    bench.store.bury_holder();
    let lost = sandglass::store::MemoryStore::new();
    let bench = bench.start_on(lost).await;
    let client = Client::of(&bench.supervisor).await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert_eq!(client.get("/v1/sandboxes/a").await.must_succeed(200).json["egress"], shown);
    client.delete("/v1/sandboxes/a?wait=10").await.must_succeed(200);
    assert_eq!(bench.runtime.count_rules(), 0, "no rule outlives its sandbox");
}

#[actix_web::test]
async fn a_change_is_in_force_and_recorded_when_it_is_answered_and_is_no_use() {
    let (bench, client) = start(&[WALLED]).await;
    client.post("/v1/sandboxes", r#"{"id": "a", "idle_timeout": 600}"#).await.must_succeed(201);
    assert_eq!(rules(&bench), Egress::default());
    tokio::time::sleep(Duration::from_secs(100)).await;
    let changed = put(&client, SHUT).await;
    assert_eq!(changed.must_succeed(200).json["egress"]["deny"], json!(["0.0.0.0/0", "::/0"]));
    assert!((changed.json["idle_remaining"].as_f64().expect("seconds") - 500.0).abs() < 0.1, "{}", changed.text);
    let shut = rules(&bench);
    assert_eq!(shut.request.deny.len(), 2);
    // Not even a crash at once loosens it.
    let bench = bench.crash_and_restart().await;
    let client = Client::of(&bench.supervisor).await;
    assert_eq!(rules(&bench), shut);
    assert_eq!(client.get("/v1/sandboxes/a").await.json["egress"]["allow"], json!(["203.0.113.7/32"]));
    // Two at once: what is recorded last is in force.
    let (one, other) = tokio::join!(put(&client, r#"{"deny": []}"#), put(&client, r#"{"deny": ["203.0.113.0/24"]}"#));
    one.must_succeed(200);
    other.must_succeed(200);
    let recorded = client.get("/v1/sandboxes/a").await.json["egress"]["deny"].clone();
    assert_eq!(json!(rules(&bench).request.deny), recorded);
}

#[actix_web::test]
async fn a_change_that_fails_leaves_the_rules_as_they_were() {
    let (bench, client) = start(&[WALLED]).await;
    client.post("/v1/sandboxes", r#"{"id": "a"}"#).await.must_succeed(201);
    put(&client, SHUT).await.must_succeed(200);
    let shut = rules(&bench);
    for when in [When::Before, When::After] {
        bench.runtime.fail_next(Point::Walls, when, 1, RuntimeError::Failed("on purpose".to_owned()));
        put(&client, r#"{"deny": []}"#).await.must_be(502, "runtime_failed");
        assert_eq!(rules(&bench), shut);
        assert_eq!(client.get("/v1/sandboxes/a").await.json["egress"]["deny"][0], "0.0.0.0/0");
    }
    bench.store.go_down();
    tokio::time::sleep(bench.settings.store.lease_ttl).await;
    put(&client, r#"{"deny": []}"#).await.must_be(503, "store_unavailable");
    assert_eq!(rules(&bench), shut);
}

#[actix_web::test]
async fn a_client_that_hangs_up_leaves_the_same_rules_in_force_and_on_record() {
    let (bench, client) = start(&[WALLED]).await;
    client.post("/v1/sandboxes", r#"{"id": "a"}"#).await.must_succeed(201);
    bench.runtime.set_latency_of(Point::Walls, Duration::from_secs(1));
    let given_up = tokio::time::timeout(Duration::from_millis(500), put(&client, SHUT)).await;
    given_up.expect_err("it has not been answered");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let recorded = client.get("/v1/sandboxes/a").await.json["egress"]["deny"].clone();
    assert_eq!(recorded, json!(["0.0.0.0/0", "::/0"]));
    assert_eq!(json!(rules(&bench).request.deny), recorded);
}

#[actix_web::test]
async fn rules_that_nobody_would_keep_are_refused() {
    let (_bench, client) = start(&[("docker.network", "default")]).await;
    let refused = client.post("/v1/sandboxes", r#"{"egress": {"deny": ["203.0.113.7"]}}"#).await;
    assert_eq!(refused.must_be(400, "invalid_request").field(), Some("egress"));
    assert!(refused.message().contains("templates.base.network"), "{}", refused.text);
    let made = client.post("/v1/sandboxes", r#"{"id": "a", "egress": {"deny": []}}"#).await;
    assert!(made.must_succeed(201).json.get("egress").is_none(), "{}", made.text);
    assert_eq!(made.json["network"], "default");
    let refused = put(&client, SHUT).await;
    assert!(refused.must_be(409, "conflict").message().contains("isolated"), "{}", refused.text);
}

#[actix_web::test]
async fn what_is_no_range_is_refused_and_a_change_without_a_word_of_what_is_shut_is_none() {
    let (bench, client) = start(&[WALLED]).await;
    client.post("/v1/sandboxes", r#"{"id": "a"}"#).await.must_succeed(201);
    put(&client, SHUT).await.must_succeed(200);
    let many = json!({ "deny": vec!["203.0.113.7"; 65] }).to_string();
    for body in ["", "{}", r#"{"allow": []}"#, r#"{"deny": ["example.com"]}"#, r#"{"deny": null}"#, "[]", &many] {
        put(&client, body).await.must_be(400, "invalid_request");
    }
    client.post("/v1/sandboxes", r#"{"egress": []}"#).await.must_be(400, "invalid_request");
    assert_eq!(rules(&bench).request.deny.len(), 2);
    let request = TestRequest::put().uri("/v1/sandboxes/b/egress").set_payload(SHUT);
    client.send(request).await.must_be(404, "not_found");
}

#[actix_web::test]
async fn a_repeated_create_gets_no_sandbox_with_other_rules() {
    let (_bench, client) = start(&[WALLED]).await;
    let shut = r#"{"id": "a", "egress": {"deny": ["0.0.0.0/0"]}}"#;
    client.post("/v1/sandboxes", shut).await.must_succeed(201);
    client.post("/v1/sandboxes", shut).await.must_succeed(200);
    client.post("/v1/sandboxes", r#"{"id": "a"}"#).await.must_succeed(200);
    put(&client, r#"{"deny": []}"#).await.must_succeed(200);
    client.post("/v1/sandboxes", shut).await.must_be(409, "conflict");
}

#[actix_web::test]
async fn where_no_rules_can_be_set_what_asks_for_some_does_not_start_and_readiness_says_what_is_open() {
    let (bench, client) = start(&[WALLED]).await;
    assert_eq!(client.get("/readyz").await.must_succeed(200).json["reasons"], json!([]));
    bench.runtime.lose_walls("no rules can be set here: run as root");
    let refused = client.post("/v1/sandboxes", r#"{"egress": {"deny": ["0.0.0.0/0"]}}"#).await;
    assert!(refused.must_be(502, "start_failed").message().contains("run as root"), "{}", refused.text);
    client.post("/v1/sandboxes", r#"{"id": "a"}"#).await.must_succeed(201);
    put(&client, SHUT).await.must_be(502, "runtime_failed");
    let ready = client.get("/readyz").await;
    assert_eq!(ready.must_succeed(200).json["status"], "ready");
    assert_eq!(ready.json["reasons"][0]["part"], "walls");
}

#[actix_web::test]
async fn where_nobody_is_to_have_walls_none_are_missed() {
    let (bench, client) = start(&[("docker.network", "none")]).await;
    bench.runtime.lose_walls("no rules can be set here");
    assert_eq!(client.get("/readyz").await.must_succeed(200).json["reasons"], json!([]));
}

#[actix_web::test]
async fn what_was_blocked_is_in_why() {
    let (bench, client) = start(&[WALLED]).await;
    client.post("/v1/sandboxes", r#"{"id": "a"}"#).await.must_succeed(201);
    let blocked = async || client.get("/v1/sandboxes/a/why").await.must_succeed(200).json["blocked"].clone();
    assert_eq!(blocked().await, json!({ "packets": 0, "recent": [] }));
    bench.runtime.block(&id("a"), [169, 254, 169, 254].into(), 3);
    bench.runtime.block(&id("a"), [10, 0, 0, 1].into(), 1);
    let recent = json!([{ "address": "10.0.0.1", "packets": 1 }, { "address": "169.254.169.254", "packets": 3 }]);
    assert_eq!(blocked().await, json!({ "packets": 4, "recent": recent }));
    // An engine that does not tell delays the answer, and does not take it away.
    bench.runtime.hang(Point::Walls, When::Before);
    assert_eq!(blocked().await, json!(null));
}
