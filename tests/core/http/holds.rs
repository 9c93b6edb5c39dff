//! Holds.

use std::time::Duration;

use actix_web::test::TestRequest;
use serde_json::json;

use super::client::{Answer, Client, start};

async fn put(client: &Client, path: &str, body: &str) -> Answer {
    let request = TestRequest::put().uri(path).set_payload(body.to_owned());
    client.send(request.insert_header(("content-type", "application/json"))).await
}

#[actix_web::test]
async fn what_is_held_outlives_its_idle_timeout_and_ends_one_after_the_hold_also_across_a_crash() {
    let (bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", r#"{"id": "a", "idle_timeout": 60}"#).await.must_succeed(201);
    assert!(client.get("/v1/sandboxes/a").await.json.get("holds").is_none());
    let held = put(&client, "/v1/sandboxes/a/holds/build", r#"{"ttl": "10m", "reason": "nightly"}"#).await;
    let held = &held.must_succeed(200).json;
    assert_eq!((&held["holds"][0]["name"], &held["holds"][0]["reason"]), (&json!("build"), &json!("nightly")));
    let until = held["holds"][0]["until"].as_f64().expect("a time");
    assert!((until - bench.now() - 600.0).abs() < 0.1);
    assert!((held["idle_deadline"].as_f64().expect("a time") - until - 60.0).abs() < 0.1);
    assert_eq!(held["last_activity_by"], "hold");

    tokio::time::sleep(Duration::from_secs(300)).await;
    let bench = bench.crash_and_restart().await;
    let client = Client::of(&bench.supervisor).await;
    let back = client.get("/v1/sandboxes/a").await;
    assert!((back.json["holds"][0]["until"].as_f64().expect("a time") - until).abs() < 0.1, "{}", back.text);
    let why = client.get("/v1/sandboxes/a/why").await;
    assert!(why.must_succeed(200).text.contains("held by build"), "{}", why.text);
    tokio::time::sleep(Duration::from_secs(355)).await;
    assert_eq!(client.get("/v1/sandboxes/a").await.json["status"], "running");
    assert!(client.get("/v1/sandboxes/a").await.json.get("holds").is_none(), "it is over");
    tokio::time::sleep(Duration::from_secs(20)).await;
    client.post("/v1/sandboxes/a/activity", "").await.must_be(410, "gone");
    put(&client, "/v1/sandboxes/a/holds/build", r#"{"ttl": 600}"#).await.must_be(410, "gone");
}

#[actix_web::test]
async fn a_release_starts_the_idle_clock_and_what_is_not_held_cannot_be_released() {
    let (_bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", r#"{"id": "a", "idle_timeout": 60}"#).await.must_succeed(201);
    put(&client, "/v1/sandboxes/a/holds/x", r#"{"ttl": 3600}"#).await.must_succeed(200);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let released = client.delete("/v1/sandboxes/a/holds/x").await;
    assert!((released.must_succeed(200).json["idle_remaining"].as_f64().expect("seconds") - 60.0).abs() < 0.1);
    client.delete("/v1/sandboxes/a/holds/x").await.must_be(404, "not_found");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_ne!(client.get("/v1/sandboxes/a").await.json["status"], "running");
}

#[actix_web::test]
async fn a_hold_that_breaks_a_rule_is_refused_by_the_field_and_changes_nothing() {
    let (_bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", r#"{"id": "a"}"#).await.must_succeed(201);
    for (path, body, code, field) in [
        ("x", r#"{"ttl": 0}"#.to_owned(), "invalid_request", "ttl"),
        ("x", r#"{"ttl": 1e9}"#.to_owned(), "invalid_request", "ttl"),
        ("x", "{}".to_owned(), "invalid_request", "ttl"),
        ("x", format!(r#"{{"ttl": 5, "reason": "{}"}}"#, "r".repeat(257)), "invalid_request", "reason"),
        ("-x", r#"{"ttl": 5}"#.to_owned(), "invalid_id", "hold"),
    ] {
        let refused = put(&client, &format!("/v1/sandboxes/a/holds/{path}"), &body).await;
        assert_eq!((refused.must_be(400, code).field(), field), (Some(field), field), "{body}: {}", refused.text);
    }
    assert!(client.get("/v1/sandboxes/a").await.json.get("holds").is_none());
    for number in 0..16 {
        put(&client, &format!("/v1/sandboxes/a/holds/{number}"), r#"{"ttl": 5}"#).await.must_succeed(200);
    }
    put(&client, "/v1/sandboxes/a/holds/more", r#"{"ttl": 5}"#).await.must_be(429, "limit_reached");
}
