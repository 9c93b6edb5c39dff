//! Creating, and what a sandbox looks like in answers.

use sandglass::{
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
};
use serde_json::json;

use super::client::start;

#[actix_web::test]
async fn a_created_sandbox_runs_and_says_where() {
    let (_bench, client) = start(&[]).await;
    let created = client.post("/v1/sandboxes", r#"{"id": "one", "ports": [80, 443]}"#).await;
    created.must_succeed(201);
    assert_eq!(created.header("location"), Some("/v1/sandboxes/one"));
    assert_eq!(created.json["status"], "running");
    assert_eq!(created.json["active"], true);
    assert!(created.json["ports"]["443"].as_str().expect("published").starts_with("127.0.0.1:"));
    assert_eq!(client.get("/v1/sandboxes/one").await.must_succeed(200).json["sandbox_id"], "one");
}

#[actix_web::test]
async fn a_sandbox_in_answers_has_the_fields_of_the_design_in_their_order_and_then_who_keeps_it() {
    let (_bench, client) = start(&[]).await;
    let created = client.post("/v1/sandboxes", "").await;
    let fields = "sandbox_id status reason error_message template image container_id container_name base_url ports \
                  created_at started_at last_activity_at idle_timeout idle_deadline idle_remaining expires_at \
                  time_remaining on_timeout terminates_at active uptime metadata shell_type user_id user_name \
                  executor_namespace last_activity_by network";
    let mut rest = created.must_succeed(201).text.as_str();
    for field in fields.split_whitespace() {
        let at = rest.find(&format!("\"{field}\":")).unwrap_or_else(|| panic!("{field} is missing in {rest}"));
        rest = &rest[at..];
    }
    let count = created.json.as_object().expect("an object").len();
    assert_eq!(count, fields.split_whitespace().count(), "{}", created.text);
}

#[actix_web::test]
async fn a_create_with_an_id_is_idempotent() {
    let (bench, client) = start(&[]).await;
    let body = r#"{"id": "mine", "timeout": 60.5}"#;
    let first = client.post("/v1/sandboxes", body).await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let second = client.post("/v1/sandboxes", body).await;
    first.must_succeed(201);
    second.must_succeed(200);
    assert_eq!(first.json["container_id"], second.json["container_id"]);
    assert_eq!(bench.runtime.len(), 1);
    let extended =
        second.json["expires_at"].as_f64().expect("a time") - first.json["expires_at"].as_f64().expect("one");
    assert!((extended - 10.0).abs() < 0.1, "extended by {extended}");
}

#[actix_web::test]
async fn a_whole_number_is_one_however_it_is_written() {
    let (_bench, client) = start(&[]).await;
    let body = r#"{"ports": [80.0, 4.43e2], "limits": {"pids": 16.0, "memory_mb": 6.4e1, "cpus": null}}"#;
    let created = client.post("/v1/sandboxes", body).await;
    assert!(created.must_succeed(201).json["ports"]["443"].is_string(), "{}", created.text);
    client.post("/v1/sandboxes", r#"{"limits": null, "ports": null}"#).await.must_succeed(201);
}

#[actix_web::test]
async fn a_request_has_the_ceilings_of_the_configuration_where_its_template_has_none() {
    let unlimited = [("cpus", "1024.5"), ("memory_mb", "16777217"), ("pids", "4194305")];
    let keys = unlimited.map(|(name, _)| format!("templates.base.limits.{name}"));
    let (_bench, client) = start(&[(&keys[0], "none"), (&keys[1], "none"), (&keys[2], "none")]).await;
    for (name, beyond) in unlimited {
        let refused = client.post("/v1/sandboxes", format!(r#"{{"limits": {{"{name}": {beyond}}}}}"#)).await;
        assert_eq!(refused.must_be(400, "invalid_request").field(), Some(format!("limits.{name}").as_str()));
    }
    let most = r#"{"limits": {"cpus": 1024, "memory_mb": 16777216, "pids": 4194304}}"#;
    client.post("/v1/sandboxes", most).await.must_succeed(201);
}

#[actix_web::test]
async fn a_duration_is_seconds_or_a_text_with_units() {
    let (_bench, client) = start(&[]).await;
    let created = client.post("/v1/sandboxes", r#"{"id": "a", "idle_timeout": "1h 30m", "timeout": "2m"}"#).await;
    assert_eq!(created.must_succeed(201).json["idle_timeout"], 5400.0);
    let left = |answer: &serde_json::Value| answer["time_remaining"].as_f64().expect("seconds");
    assert!((left(&created.json) - 120.0).abs() < 1.0, "{}", created.text);
    let kept = client.post("/v1/sandboxes/a/keep-alive", r#"{"timeout": "1500ms"}"#).await;
    assert!((left(&kept.must_succeed(200).json) - 1.5).abs() < 0.5, "{}", kept.text);
    client.delete("/v1/sandboxes/a?wait=2s").await.must_succeed(200);
}

#[actix_web::test]
async fn an_id_that_was_made_from_something_else_is_a_conflict() {
    let (_bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", r#"{"id": "mine"}"#).await.must_succeed(201);
    client.post("/v1/sandboxes", r#"{"id": "mine", "image": "alpine:3"}"#).await.must_be(409, "conflict");
}

#[actix_web::test]
async fn without_waiting_the_answer_comes_before_the_container() {
    let (bench, client) = start(&[]).await;
    bench.runtime.hang(Point::Create, When::Before);
    let pending = client.post("/v1/sandboxes?wait=0", r#"{"id": "slow"}"#).await;
    assert_eq!(pending.must_succeed(202).json["status"], "pending");
    assert_eq!(pending.header("location"), Some("/v1/sandboxes/slow"));
    assert!(bench.runtime.is_empty());
    bench.runtime.heal_all();
    let waited = client.post("/v1/sandboxes", r#"{"id": "slow"}"#).await;
    assert_eq!(waited.must_succeed(200).json["status"], "running");
}

#[actix_web::test]
async fn what_the_owner_wrote_comes_back_as_it_was_written() {
    let (_bench, client) = start(&[]).await;
    let metadata = r#"{"big":123456789012345678901234567890,"nested":{"b":1,"a":[1.0,1e2]},"text":"\u00e9"}"#;
    let body = format!(r#"{{"id": "raw", "metadata": {metadata}, "user_id": 12345678901234567890123}}"#);
    let created = client.post("/v1/sandboxes", body).await;
    created.must_succeed(201);
    assert!(created.text.contains(&format!("\"metadata\":{metadata}")), "{}", created.text);
    assert!(created.text.contains("\"user_id\":12345678901234567890123,"), "{}", created.text);
    let text = client.post("/v1/sandboxes", r#"{"user_id": "u-1", "user_name": "Ada"}"#).await;
    assert_eq!((&text.json["user_id"], &text.json["user_name"]), (&json!("u-1"), &json!("Ada")));
}

#[actix_web::test]
async fn timeouts_are_seconds_above_zero_and_null_is_none() {
    let (_bench, client) = start(&[("lifecycle.allow_no_idle_timeout", "true")]).await;
    let fraction = client.post("/v1/sandboxes", r#"{"idle_timeout": 0.5, "timeout": 2.25}"#).await;
    assert_eq!(fraction.must_succeed(201).json["idle_timeout"], 0.5);
    let none = client.post("/v1/sandboxes", r#"{"idle_timeout": null}"#).await;
    none.must_succeed(201);
    for field in ["idle_timeout", "idle_deadline", "idle_remaining", "terminates_at"] {
        assert!(none.json[field].is_null(), "{field}: {}", none.text);
    }
    for field in ["idle_timeout", "timeout"] {
        for value in ["0", "-1", "\"60\"", "1e300", "true", "[]"] {
            let refused = client.post("/v1/sandboxes", format!(r#"{{"{field}": {value}}}"#)).await;
            assert_eq!(refused.must_be(400, "invalid_request").field(), Some(field), "{}", refused.text);
        }
    }
}

#[actix_web::test]
async fn no_idle_timeout_has_to_be_allowed() {
    let (_bench, client) = start(&[]).await;
    let refused = client.post("/v1/sandboxes", r#"{"idle_timeout": null}"#).await;
    assert_eq!(refused.must_be(400, "invalid_request").field(), Some("idle_timeout"));
}

#[actix_web::test]
async fn a_start_that_fails_is_answered_with_what_remains() {
    let (bench, client) = start(&[]).await;
    let error = RuntimeError::Failed("no such image".into());
    bench.runtime.fail_next(Point::Pull, When::Before, 1, error);
    let failed = client.post("/v1/sandboxes", r#"{"id": "bad"}"#).await;
    failed.must_be(502, "start_failed");
    let sandbox = &failed.json["error"]["details"]["sandbox"];
    assert_eq!((&sandbox["status"], &sandbox["reason"]), (&json!("failed"), &json!("start_failed")));
    assert!(sandbox["error_message"].as_str().expect("a text").contains("no such image"));
}

#[actix_web::test]
async fn more_than_may_live_at_once_is_refused_for_now() {
    let (_bench, client) = start(&[("docker.max_sandboxes", "1")]).await;
    client.post("/v1/sandboxes", "").await.must_succeed(201);
    let refused = client.post("/v1/sandboxes", "").await;
    assert!(refused.must_be(429, "limit_reached").header("retry-after").is_some());
}
