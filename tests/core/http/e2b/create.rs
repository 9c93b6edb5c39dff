//! Creating, looking and killing.

use sandglass::{
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
};
use serde_json::json;

use super::{create, created, seconds};
use crate::http::client::start;

#[actix_web::test]
async fn a_created_sandbox_is_one_of_all_and_runs_for_its_timeout() {
    let (_bench, client) = start(&[]).await;
    let answer = create(&client, json!({ "timeout": 60, "metadata": { "owner": "a b" } })).await;
    let id = answer.must_succeed(201).json["sandboxID"].as_str().expect("an id").to_owned();
    assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{id}");
    for field in ["templateID", "clientID", "envdVersion", "envdAccessToken"] {
        assert!(answer.json[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {}", answer.text);
    }
    let told = client.get(&format!("/sandboxes/{id}")).await;
    let sandbox = &told.must_succeed(200).json;
    assert_eq!((&sandbox["templateID"], &sandbox["state"]), (&json!("base"), &json!("running")));
    assert_eq!(sandbox["metadata"], json!({ "owner": "a b" }));
    assert_eq!((&sandbox["cpuCount"], &sandbox["memoryMB"]), (&json!(1), &json!(512)));
    assert_eq!(sandbox["envdAccessToken"], answer.json["envdAccessToken"]);
    assert!((seconds(&sandbox["startedAt"], &sandbox["endAt"]) - 60.0).abs() < 0.5, "{}", told.text);
    let native = client.get(&format!("/v1/sandboxes/{id}")).await;
    assert_eq!(native.must_succeed(200).json["on_timeout"], "terminate_unless_paused");
}

#[actix_web::test]
async fn without_a_timeout_a_sandbox_lives_for_15_seconds_by_the_first_call_and_for_300_by_the_second() {
    let (_bench, client) = start(&[]).await;
    for (path, expected) in [("/sandboxes", 15.0), ("/v2/sandboxes", 300.0)] {
        let answer = client.post(path, r#"{"templateID": "base"}"#).await;
        let id = answer.must_succeed(201).json["sandboxID"].as_str().expect("an id").to_owned();
        let told = client.get(&format!("/sandboxes/{id}")).await.json;
        assert!((seconds(&told["startedAt"], &told["endAt"]) - expected).abs() < 0.5, "{path}: {told}");
    }
}

#[actix_web::test]
async fn a_killed_sandbox_is_not_found_any_more() {
    let (_bench, client) = start(&[]).await;
    let id = created(&client, json!({})).await;
    let path = format!("/sandboxes/{id}");
    let killed = client.delete(&path).await;
    assert_eq!(killed.must_succeed(204).text, "");
    client.delete(&path).await.must_refuse(404);
    client.get(&path).await.must_refuse(404);
}

#[actix_web::test]
async fn a_start_that_fails_is_not_answered_with_a_status_that_is_repeated() {
    let (bench, client) = start(&[]).await;
    bench.runtime.fail_next(Point::Create, When::Before, 1, RuntimeError::Failed("no such image".into()));
    let failed = create(&client, json!({})).await;
    assert!(failed.must_refuse(500).says().contains("no such image"), "{}", failed.text);
}

#[actix_web::test]
async fn a_sandbox_from_the_native_interface_is_told_in_the_other_words() {
    let (_bench, client) = start(&[]).await;
    let body = r#"{"id": "own", "metadata": {"count": 1, "name": "x"}}"#;
    client.post("/v1/sandboxes", body).await.must_succeed(201);
    let told = client.get("/sandboxes/own").await;
    assert_eq!(told.must_succeed(200).json["metadata"], json!({ "count": "1", "name": "x" }));
    client.delete("/sandboxes/own").await.must_succeed(204);
}
