//! Requests about one sandbox: end, pause, resume, keep alive.

use std::time::Duration;

use sandglass::{
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
};
use serde_json::json;

use super::client::{Client, start};

async fn create(client: &Client, body: &str) {
    client.post("/v1/sandboxes", body).await.must_succeed(201);
}

#[actix_web::test]
async fn a_delete_answers_at_once_or_when_it_is_gone() {
    let (bench, client) = start(&[]).await;
    create(&client, r#"{"id": "a"}"#).await;
    create(&client, r#"{"id": "b"}"#).await;
    assert_eq!(client.delete("/v1/sandboxes/a?wait=2.5").await.must_succeed(200).json["status"], "terminated");
    bench.runtime.hang(Point::Remove, When::Before);
    assert_eq!(client.delete("/v1/sandboxes/b").await.must_succeed(202).json["status"], "terminating");
    assert_eq!(client.delete("/v1/sandboxes/b?wait=1").await.must_succeed(202).json["reason"], "requested");
    bench.runtime.heal_all();
    client.delete("/v1/sandboxes/b?wait=300").await.must_succeed(200);
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn while_it_terminates_nothing_else_can_be_asked_of_it() {
    let (bench, client) = start(&[]).await;
    create(&client, r#"{"id": "a"}"#).await;
    let error = RuntimeError::Failed("device busy".into());
    bench.runtime.fail_always(Point::Remove, When::Before, error);
    client.delete("/v1/sandboxes/a").await.must_succeed(202);
    for call in ["activity", "keep-alive", "heartbeat", "pause", "resume"] {
        let refused = client.post(&format!("/v1/sandboxes/a/{call}"), "").await;
        assert_eq!(refused.must_be(409, "terminating").json["error"]["details"]["reason"], "requested");
    }
    client.post("/v1/sandboxes", r#"{"id": "a"}"#).await.must_be(409, "terminating");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let sandbox = client.get("/v1/sandboxes/a").await;
    assert_eq!(sandbox.json["error_message"], "device busy", "{}", sandbox.text);
    assert!(sandbox.json["time_remaining"].is_null() && sandbox.json["idle_remaining"].is_null());
    let why = client.get("/v1/sandboxes/a/why").await;
    let removal = &why.must_succeed(200).json["removal"];
    assert!(removal["failed_attempts"].as_u64().expect("a number") >= 2, "{}", why.text);
    assert_eq!(removal["last_error"], "device busy");
    assert!(removal["next_attempt_at"].as_f64().is_some(), "{}", why.text);
    assert_eq!(why.json["rules"], json!([]));
    bench.runtime.heal_all();
    client.delete("/v1/sandboxes/a?wait=300").await.must_succeed(200);
    let ended = client.get("/v1/sandboxes/a/why").await;
    assert_eq!((&ended.json["alive"], &ended.json["end"]["reason"]), (&json!(false), &json!("requested")));
    assert!(ended.json["removal"].is_null() && ended.json["next"].is_null(), "{}", ended.text);
    assert!(ended.json["because"].as_str().expect("a text").contains("somebody asked"), "{}", ended.text);
    assert!(client.get("/v1/sandboxes/a").await.json["error_message"].is_null());
}

#[actix_web::test]
async fn pause_and_resume_need_the_other_status() {
    let (_bench, client) = start(&[]).await;
    create(&client, r#"{"id": "a"}"#).await;
    let wrong = client.post("/v1/sandboxes/a/resume", "").await;
    assert_eq!(wrong.must_be(409, "wrong_state").json["error"]["details"]["status"], "running");
    let paused = client.post("/v1/sandboxes/a/pause", "").await;
    assert_eq!(paused.must_succeed(200).json["status"], "paused");
    assert!(paused.json["idle_deadline"].is_null());
    let why = client.get("/v1/sandboxes/a/why").await;
    assert!(why.json["rules"][0]["sentence"].as_str().expect("a text").contains("stands still"), "{}", why.text);
    client.post("/v1/sandboxes/a/pause", "").await.must_be(409, "wrong_state");
    assert_eq!(client.post("/v1/sandboxes/a/resume", "").await.must_succeed(200).json["status"], "running");
}

#[actix_web::test]
async fn what_the_engine_fails_at_leaves_the_sandbox_as_it_was() {
    let (bench, client) = start(&[]).await;
    create(&client, r#"{"id": "a"}"#).await;
    bench.runtime.fail_next(Point::Pause, When::Before, 1, RuntimeError::Failed("no freezer".into()));
    let failed = client.post("/v1/sandboxes/a/pause", "").await;
    assert!(failed.must_be(502, "runtime_failed").message().contains("no freezer"));
    assert_eq!(client.get("/v1/sandboxes/a").await.json["status"], "running");
}

#[actix_web::test]
async fn a_keep_alive_moves_the_active_timeout_to_what_it_asks_for_or_to_the_sandbox_s_own() {
    let (_bench, client) = start(&[]).await;
    create(&client, r#"{"id": "a", "timeout": 100}"#).await;
    let remaining = async |body: &str| {
        let kept = client.post("/v1/sandboxes/a/keep-alive", body).await;
        kept.must_succeed(200).json["time_remaining"].as_f64().expect("seconds").round()
    };
    assert_eq!(remaining(r#"{"timeout": 900}"#).await, 900.0);
    assert_eq!(remaining(r#"{"timeout": 5}"#).await, 5.0);
    assert_eq!(remaining("").await, 100.0);
    assert_eq!(remaining("{}").await, 100.0);
    assert_eq!(remaining(r#"{"timeout": null}"#).await, 100.0);
    let refused = client.post("/v1/sandboxes/a/keep-alive", r#"{"timeout": 0}"#).await;
    assert_eq!(refused.must_be(400, "invalid_request").field(), Some("timeout"));
    let refused = client.post("/v1/sandboxes/a/keep-alive", r#"{"timeout": 1e12}"#).await;
    assert_eq!(refused.must_be(400, "invalid_request").field(), Some("timeout"));
}

#[actix_web::test]
async fn time_that_is_over_is_no_negative_time() {
    let (_bench, client) = start(&[]).await;
    create(&client, r#"{"id": "a", "timeout": 1}"#).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let sandbox = client.get("/v1/sandboxes/a").await;
    assert_eq!(sandbox.json["status"], "running");
    assert_eq!((&sandbox.json["active"], &sandbox.json["time_remaining"]), (&json!(false), &json!(0.0)));
    let why = client.get("/v1/sandboxes/a/why").await;
    let sentence = why.json["rules"][1]["sentence"].as_str().expect("a text");
    assert!(sentence.contains("inactive for") && sentence.contains("does not end it"), "{sentence}");
}

#[actix_web::test]
async fn a_heartbeat_is_no_use() {
    let (_bench, client) = start(&[]).await;
    create(&client, r#"{"id": "a"}"#).await;
    let before = client.get("/v1/sandboxes/a").await.json["last_activity_at"].clone();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let beat = client.post("/v1/sandboxes/a/heartbeat", "").await;
    assert_eq!(beat.must_succeed(200).json["last_activity_at"], before);
}

#[actix_web::test]
async fn why_tells_who_reset_the_clock_and_which_rule_acts_next() {
    let (bench, client) = start(&[]).await;
    create(&client, r#"{"id": "a", "idle_timeout": 600, "timeout": 900, "on_timeout": "terminate"}"#).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        client.post("/v1/sandboxes/a/activity", "").await.must_succeed(200);
    }
    let why = client.get("/v1/sandboxes/a/why").await;
    let first = &why.must_succeed(200).json["activity"][0];
    assert_eq!((&first["source"], &first["count"]), (&json!("ping"), &json!(3)), "{}", why.text);
    assert!((first["last_at"].as_f64().expect("a time") - bench.now()).abs() < 1.0);
    let next = &why.json["next"];
    assert_eq!((&next["action"], &next["rule"], &next["reason"]), (&json!("end"), &json!("idle"), &json!("idle")));
    assert_eq!(why.json["rules"][0]["acts_next"], true);
    assert_eq!(why.json["rules"][0]["at"], next["at"]);
    assert_eq!(why.json["because"], "it runs, and ends in 10 min 0 s (idle), unless somebody uses it before");
    tokio::time::sleep(Duration::from_secs(500)).await;
    client.post("/v1/sandboxes/a/activity", "").await.must_succeed(200);
    let why = client.get("/v1/sandboxes/a/why").await;
    assert_eq!((&why.json["next"]["rule"], &why.json["next"]["reason"]), (&json!("active_timeout"), &json!("expired")));
    tokio::time::sleep(Duration::from_secs(500)).await;
    let ended = client.get("/v1/sandboxes/a/why").await;
    assert_eq!(ended.json["end"]["reason"], "expired", "{}", ended.text);
    assert!(ended.json["end"]["lateness"].as_f64().expect("seconds") < 0.05, "{}", ended.text);
}

/// The pause was due before, and nobody would expect it after the answer.
#[actix_web::test]
async fn what_keeps_a_sandbox_active_is_not_answered_while_it_is_being_paused() {
    let (bench, client) = start(&[]).await;
    let create = r#"{"id": "a", "timeout": 20, "on_timeout": "pause"}"#;
    client.post("/v1/sandboxes", create).await.must_succeed(201);
    for call in ["/v1/sandboxes/a/keep-alive", "/v1/sandboxes"] {
        bench.runtime.hang(Point::Pause, When::Before);
        // The pause is under way, and takes its time.
        tokio::time::sleep(Duration::from_secs(30)).await;
        let body = if call.ends_with("alive") { "" } else { create };
        let mut keeping = std::pin::pin!(client.post(call, body));
        let early = tokio::time::timeout(Duration::from_secs(5), &mut keeping).await;
        assert!(early.is_err(), "{call} was answered: {}", early.expect("an answer").text);
        bench.runtime.heal(Point::Pause);
        let kept = keeping.await;
        assert_eq!(kept.must_succeed(200).json["status"], "paused", "{call}");
        assert_eq!(client.post("/v1/sandboxes/a/resume", "").await.must_succeed(200).json["status"], "running");
    }
}
