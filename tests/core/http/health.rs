//! Readiness, and its reasons.

use std::{sync::Arc, time::Duration};

use sandglass::{
    ports::runtime::RuntimeError,
    runtime::{
        Memory,
        memory::{Point, When},
    },
    store::{MemoryStore, memory},
};
use serde_json::json;

use super::{
    bench::{settings, supervisor, wall_clock},
    client::{Client, start},
};

#[actix_web::test]
async fn a_healthy_one_is_alive_and_ready() {
    let (_bench, client) = start(&[]).await;
    assert_eq!(client.get("/healthz").await.must_succeed(200).json, json!({ "status": "ok" }));
    assert_eq!(client.get("/readyz").await.must_succeed(200).json, json!({ "status": "ready", "reasons": [] }));
}

#[actix_web::test]
async fn when_the_store_is_down_pings_and_reads_work_and_creates_are_refused() {
    let (bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", r#"{"id": "a"}"#).await.must_succeed(201);
    bench.store.go_down();
    let refused = client.post("/v1/sandboxes", "").await;
    assert!(refused.must_be(503, "store_unavailable").header("retry-after").is_some());
    client.post("/v1/sandboxes/a/activity", "").await.must_succeed(200);
    client.get("/v1/sandboxes/a").await.must_succeed(200);
    client.delete("/v1/sandboxes/a?wait=1").await.must_succeed(202);
    let ready = client.get("/readyz").await;
    assert_eq!(ready.must_succeed(503).json["status"], "degraded");
    assert_eq!(ready.json["reasons"][0]["part"], "store");
    assert!(ready.json["reasons"][0]["since"].is_number(), "{}", ready.text);
    assert!(ready.json["reasons"][0]["error"].as_str().expect("a text").contains("on purpose"), "{}", ready.text);
    client.get("/healthz").await.must_succeed(200);
    bench.store.heal_all();
    tokio::time::sleep(Duration::from_secs(10)).await;
    client.get("/readyz").await.must_succeed(200);
}

#[actix_web::test]
async fn a_store_that_goes_down_while_nothing_is_written_is_noticed() {
    let (bench, client) = start(&[]).await;
    bench.store.go_down();
    tokio::time::sleep(bench.settings.store.lease_ttl).await;
    assert_eq!(client.get("/readyz").await.must_succeed(503).json["reasons"][0]["part"], "store");
    bench.store.heal_all();
    tokio::time::sleep(bench.settings.store.lease_ttl).await;
    client.get("/readyz").await.must_succeed(200);
    client.post("/v1/sandboxes", "").await.must_succeed(201);
}

#[actix_web::test]
async fn a_store_with_another_supervisor_is_not_ready() {
    let (bench, client) = start(&[]).await;
    bench.store.usurp("somebody else");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let ready = client.get("/readyz").await;
    assert_eq!(ready.must_succeed(503).json["status"], "degraded");
    assert!(ready.json["reasons"][0]["error"].as_str().expect("a text").contains("somebody else"), "{}", ready.text);
}

#[actix_web::test]
async fn when_the_engine_is_down_creates_are_refused_and_readiness_says_so() {
    let (bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", r#"{"id": "a"}"#).await.must_succeed(201);
    let error = RuntimeError::Unreachable("no socket".into());
    bench.runtime.fail_always(Point::Check, When::Before, error);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let refused = client.post("/v1/sandboxes", "").await;
    assert!(refused.must_be(503, "runtime_unavailable").header("retry-after").is_some());
    client.post("/v1/sandboxes/a/activity", "").await.must_succeed(200);
    let ready = client.get("/readyz").await;
    assert_eq!(ready.must_succeed(503).json["reasons"][0]["part"], "runtime");
    assert!(ready.json["reasons"][0]["since"].is_number(), "{}", ready.text);
    bench.runtime.heal_all();
    tokio::time::sleep(Duration::from_secs(10)).await;
    client.get("/readyz").await.must_succeed(200);
}

#[actix_web::test]
async fn a_background_task_that_died_is_told_and_counts_as_down_only_while_it_dies_again_and_again() {
    let (bench, client) = start(&[]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.runtime.panic_next(Point::Check, When::Before);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let ready = client.get("/readyz").await;
    assert_eq!(ready.must_succeed(200).json["status"], "ready");
    let reason = &ready.json["reasons"][0];
    assert_eq!(reason["part"], "tasks", "{}", ready.text);
    assert!(reason["since"].is_number(), "{}", ready.text);
    let error = reason["error"].as_str().expect("a text");
    assert!(error.contains("runtime watch") && error.contains("on purpose"), "{error}");
    bench.runtime.panic_next(Point::Check, When::Before);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(client.get("/readyz").await.must_succeed(503).json["status"], "degraded");
    let metrics = client.get("/metrics").await;
    assert!(metrics.text.contains("sandglass_task_deaths_total{task=\"runtime watch\"} 2\n"), "{}", metrics.text);
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(client.get("/readyz").await.must_succeed(200).json, json!({ "status": "ready", "reasons": [] }));
}

#[actix_web::test]
async fn until_everything_is_brought_back_nothing_is_said_to_be_missing() {
    tokio::time::pause();
    let (store, runtime) = (MemoryStore::new(), Memory::new());
    let supervisor = supervisor(&settings(&[]), &store, &runtime, &wall_clock());
    store.hang(memory::Point::Active);
    let client = Client::of(&supervisor).await;
    let beginning = supervisor.clone();
    let begun = tokio::spawn(async move { beginning.begin().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.get("/readyz").await.must_succeed(503).json["status"], "starting");
    client.get("/healthz").await.must_succeed(200);
    client.get("/v1/sandboxes").await.must_be(503, "starting");
    client.get("/v1/sandboxes/a").await.must_be(503, "starting");
    client.post("/v1/sandboxes/a/activity", "").await.must_be(503, "starting");
    let refused = client.post("/v1/sandboxes", "").await;
    assert!(refused.must_be(503, "starting").header("retry-after").is_some());
    store.heal_all();
    begun.await.expect("no panic").expect("the lease is free");
    client.get("/readyz").await.must_succeed(200);
    client.get("/v1/sandboxes/a").await.must_be(404, "not_found");
}

#[actix_web::test]
async fn a_start_without_store_and_engine_says_since_when_each_is_missing() {
    tokio::time::pause();
    let (store, runtime) = (MemoryStore::new(), Memory::new());
    store.go_down();
    runtime.fail_always(Point::Check, When::Before, RuntimeError::Unreachable("no socket".into()));
    let supervisor = supervisor(&settings(&[]), &store, &runtime, &wall_clock());
    let client = Client::of(&supervisor).await;
    let beginning = supervisor.clone();
    let begun = tokio::spawn(async move { beginning.begin().await });
    tokio::time::sleep(Duration::from_secs(60)).await;
    let ready = client.get("/readyz").await;
    assert_eq!(ready.must_succeed(503).json["status"], "starting");
    let now = supervisor.now().wall();
    for part in ["store", "runtime"] {
        let reasons = ready.json["reasons"].as_array().expect("reasons");
        let reason = reasons.iter().find(|reason| reason["part"] == part).expect("a reason for each part");
        let since = reason["since"].as_f64().expect("since when");
        assert!((now - since - 60.0).abs() < 1.0, "{part} is down since {since}, and it is {now}");
    }
    // The engine does not keep the instance from being ready.
    store.heal_all();
    begun.await.expect("no panic").expect("the lease is free");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let ready = client.get("/readyz").await;
    assert_eq!(ready.must_succeed(503).json["status"], "degraded");
    assert_eq!(ready.json["reasons"].as_array().map(Vec::len), Some(1), "{}", ready.text);
    assert_eq!(ready.json["reasons"][0]["part"], "runtime");
}

#[actix_web::test]
async fn while_it_stops_nothing_new_begins() {
    let (bench, client) = start(&[]).await;
    let supervisor = Arc::clone(&bench.supervisor);
    assert_eq!(supervisor.shutdown(Duration::from_secs(5)).await, 0);
    assert_eq!(client.get("/readyz").await.must_succeed(503).json["status"], "stopping");
    let refused = client.post("/v1/sandboxes", "").await;
    assert!(refused.must_be(503, "stopping").header("retry-after").is_some());
}

#[actix_web::test]
async fn the_counters_are_open_metrics() {
    let (_bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", "").await.must_succeed(201);
    let metrics = client.get("/metrics").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(metrics.must_succeed(200).header("content-type"), Some(kind));
    assert!(metrics.text.contains("sandglass_sandboxes{status=\"running\"} 1\n"), "{}", metrics.text);
    assert!(metrics.text.ends_with("# EOF\n"));
}
