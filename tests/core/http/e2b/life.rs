//! Timeouts, pauses and resumes.

use std::time::Duration;

use sandglass::{
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
};
use serde_json::{Value, json};

use super::{created, seconds};
use crate::{
    http::client::{Client, start},
    support::bench::id,
};

async fn told(client: &Client, id: &str) -> Value {
    client.get(&format!("/sandboxes/{id}")).await.must_succeed(200).json.clone()
}

/// Seconds from the create to the end.
async fn lasts(client: &Client, id: &str) -> f64 {
    let told = told(client, id).await;
    seconds(&told["startedAt"], &told["endAt"])
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[actix_web::test]
async fn a_sandbox_ends_at_its_timeout_or_is_paused_then() {
    let (_bench, client) = start(&[]).await;
    let ends = created(&client, json!({ "timeout": 10 })).await;
    let pauses = created(&client, json!({ "timeout": 10, "autoPause": true })).await;
    pass(9).await;
    assert_eq!(told(&client, &ends).await["lifecycle"], json!({ "onTimeout": "kill", "autoResume": false }));
    assert_eq!(told(&client, &pauses).await["lifecycle"], json!({ "onTimeout": "pause", "autoResume": false }));
    pass(2).await;
    client.get(&format!("/sandboxes/{ends}")).await.must_refuse(404);
    let paused = told(&client, &pauses).await;
    assert_eq!((&paused["state"], &paused["pauseMode"]), (&json!("paused"), &json!("full")));
    assert!((lasts(&client, &pauses).await - 10.0).abs() < 0.5, "the end is when it was paused: {paused}");
    assert_eq!(client.get(&format!("/v1/sandboxes/{ends}")).await.json["reason"], "expired");
}

#[actix_web::test]
async fn a_timeout_counts_from_the_call_and_may_shorten_and_0_ends_at_once() {
    let (_bench, client) = start(&[]).await;
    let id = created(&client, json!({})).await;
    let path = format!("/sandboxes/{id}/timeout");
    pass(5).await;
    client.post(&path, r#"{"timeout": 600}"#).await.must_succeed(204);
    assert!((lasts(&client, &id).await - 605.0).abs() < 0.5);
    client.post(&path, r#"{"timeout": 20}"#).await.must_succeed(204);
    assert!((lasts(&client, &id).await - 25.0).abs() < 0.5);
    for (body, field) in [("{}", "timeout"), (r#"{"timeout": -1}"#, "timeout"), (r#"{"timeout": "1"}"#, "timeout")] {
        assert!(client.post(&path, body).await.must_refuse(400).says().contains(field), "{body}");
    }
    client.post(&path, r#"{"timeout": 0}"#).await.must_succeed(204);
    client.post(&path, r#"{"timeout": 10}"#).await.must_refuse(404);
    client.get(&format!("/sandboxes/{id}")).await.must_refuse(404);
    let pauses = created(&client, json!({ "autoPause": true })).await;
    client.post(&format!("/sandboxes/{pauses}/timeout"), r#"{"timeout": 0}"#).await.must_succeed(204);
    assert_eq!(told(&client, &pauses).await["state"], "paused");
}

#[actix_web::test]
async fn a_timeout_beyond_the_maximum_is_refused_by_every_call_with_the_limit() {
    let (_bench, client) = start(&[("lifecycle.max_timeout", "600")]).await;
    let id = created(&client, json!({})).await;
    for (call, body) in [
        ("timeout", r#"{"timeout": 601}"#),
        ("connect", r#"{"timeout": 601}"#),
        ("refreshes", r#"{"duration": 601}"#),
        ("resume", r#"{"timeout": 601}"#),
    ] {
        let refused = client.post(&format!("/sandboxes/{id}/{call}"), body).await;
        assert!(refused.must_refuse(400).says().contains("600"), "{call}: {}", refused.text);
    }
}

#[actix_web::test]
async fn a_refresh_only_extends_by_15_seconds_to_an_hour() {
    let (_bench, client) = start(&[]).await;
    let id = created(&client, json!({ "timeout": 30 })).await;
    let path = format!("/sandboxes/{id}/refreshes");
    client.post(&path, r#"{"duration": 20}"#).await.must_succeed(204);
    assert!((lasts(&client, &id).await - 30.0).abs() < 0.5);
    pass(25).await;
    client.post(&path, "").await.must_succeed(204);
    assert!((lasts(&client, &id).await - 40.0).abs() < 0.5);
    client.post(&path, r#"{"duration": 1}"#).await.must_succeed(204);
    assert!((lasts(&client, &id).await - 40.0).abs() < 0.5);
    client.post(&path, r#"{"duration": 3600}"#).await.must_succeed(204);
    assert!((lasts(&client, &id).await - 3625.0).abs() < 0.5);
    for wrong in ["3601", "-1", "\"1\""] {
        client.post(&path, format!(r#"{{"duration": {wrong}}}"#)).await.must_refuse(400);
    }
}

#[actix_web::test]
async fn a_connect_extends_what_runs_and_resumes_what_is_paused() {
    let (_bench, client) = start(&[]).await;
    for version in ["", "/v2"] {
        let id = created(&client, json!({ "timeout": 300 })).await;
        let path = format!("{version}/sandboxes/{id}/connect");
        let connected = client.post(&path, r#"{"timeout": 10}"#).await;
        assert_eq!(connected.must_succeed(200).json["sandboxID"], *id);
        assert!((lasts(&client, &id).await - 300.0).abs() < 0.5, "it never shortens");
        client.post(&format!("/sandboxes/{id}/pause"), "{}").await.must_succeed(204);
        // Nothing ends it meanwhile.
        pass(1000).await;
        assert_eq!(told(&client, &id).await["state"], "paused");
        let resumed = client.post(&path, r#"{"timeout": 400, "memory": true}"#).await;
        assert_eq!(resumed.must_succeed(201).json["sandboxID"], *id);
        let now = told(&client, &id).await;
        assert_eq!(now["state"], "running");
        assert!((seconds(&now["startedAt"], &now["endAt"]) - 1400.0).abs() < 0.5, "from now on: {now}");
        client.post(&path, r#"{"timeout": 0}"#).await.must_refuse(400);
        client.post(&path, r#"{"memory": false}"#).await.must_refuse(400);
        client.delete(&format!("/sandboxes/{id}")).await.must_succeed(204);
        client.post(&path, r#"{"timeout": 10}"#).await.must_refuse(404);
    }
    client.post("/v2/sandboxes/nobody/connect", r#"{"timeout": 10}"#).await.must_refuse(404);
}

#[actix_web::test]
async fn a_paused_sandbox_takes_no_timeouts_and_a_second_pause_is_a_conflict() {
    let (_bench, client) = start(&[]).await;
    let id = created(&client, json!({})).await;
    let path = |call: &str| format!("/sandboxes/{id}/{call}");
    client.post(&path("resume"), r#"{"timeout": 5}"#).await.must_refuse(409);
    client.post(&path("pause"), r#"{"memory": false}"#).await.must_refuse(400);
    client.post(&path("pause"), "").await.must_succeed(204);
    client.post(&path("pause"), r#"{"memory": true}"#).await.must_refuse(409);
    for timeout in [0, 60] {
        client.post(&path("timeout"), format!(r#"{{"timeout": {timeout}}}"#)).await.must_refuse(404);
    }
    client.post(&path("refreshes"), r#"{"duration": 60}"#).await.must_refuse(404);
    assert_eq!(client.get(&path("metrics")).await.must_succeed(200).json, json!([]));
    let resumed = client.post(&path("resume"), r#"{"timeout": 600}"#).await;
    assert_eq!(resumed.must_succeed(201).json["sandboxID"], *id);
    client.post(&path("pause"), "{}").await.must_succeed(204);
    client.delete(&format!("/sandboxes/{id}")).await.must_succeed(204);
}

#[actix_web::test]
async fn a_connect_that_meets_a_pause_under_way_resumes_and_a_timeout_is_not_promised_to_what_is_being_paused() {
    let (bench, client) = start(&[]).await;
    let sandbox = created(&client, json!({})).await;
    let path = |call: &str| format!("/sandboxes/{sandbox}/{call}");
    for (call, body, status) in [("connect", r#"{"timeout": 600}"#, 201), ("timeout", r#"{"timeout": 600}"#, 404)] {
        bench.runtime.hang(Point::Pause, When::Before);
        let supervisor = bench.supervisor.clone();
        let name = id(&sandbox);
        let pause = actix_web::rt::spawn(async move { supervisor.pause(&name).await });
        pass(1).await;
        let path = path(call);
        let calls = futures_util::future::join(client.post(&path, body), async {
            pass(1).await;
            bench.runtime.heal(Point::Pause);
        });
        assert_eq!(calls.await.0.status.as_u16(), status, "{call}");
        pause.await.expect("no panic").expect("paused");
    }
}

#[actix_web::test]
async fn an_engine_that_fails_at_a_pause_is_not_answered_with_a_status_that_is_repeated() {
    let (bench, client) = start(&[]).await;
    let id = created(&client, json!({})).await;
    bench.runtime.fail_next(Point::Pause, When::Before, 1, RuntimeError::Failed("no".into()));
    client.post(&format!("/sandboxes/{id}/pause"), "{}").await.must_refuse(500);
    assert_eq!(told(&client, &id).await["state"], "running");
}

#[actix_web::test]
async fn only_an_idle_timeout_of_the_template_itself_ends_what_is_not_used() {
    let own = ("templates.base.idle_timeout", "50");
    for (overrides, left) in [(&[("lifecycle.idle_timeout", "50")][..], 200), (&[own][..], 404)] {
        let (_bench, client) = start(overrides).await;
        let id = created(&client, json!({ "timeout": 300 })).await;
        pass(60).await;
        assert_eq!(client.get(&format!("/sandboxes/{id}")).await.status.as_u16(), left, "{overrides:?}");
        // The next round has a bench of its own.
        tokio::time::resume();
    }
}
