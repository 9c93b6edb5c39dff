//! Pings.

use std::time::Duration;

use serde_json::json;

use super::client::{Client, start};

#[actix_web::test]
async fn a_ping_answers_with_the_new_deadlines() {
    let (bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", r#"{"id": "a", "idle_timeout": 600}"#).await.must_succeed(201);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let pinged = client.post("/v1/sandboxes/a/activity", "").await;
    let answer = pinged.must_succeed(200).json.as_object().expect("an object");
    let fields = "sandbox_id status last_activity_at idle_timeout idle_deadline idle_remaining expires_at time_remaining \
                  terminates_at active";
    assert_eq!(answer.len(), fields.split_whitespace().count());
    assert!(fields.split_whitespace().all(|field| answer.contains_key(field)), "{}", pinged.text);
    assert_eq!((&answer["sandbox_id"], &answer["status"]), (&json!("a"), &json!("running")));
    assert!((answer["last_activity_at"].as_f64().expect("a time") - bench.now()).abs() < 0.1);
    assert!((answer["idle_deadline"].as_f64().expect("a time") - bench.now() - 600.0).abs() < 0.1);
    assert_eq!(answer["idle_deadline"], answer["terminates_at"]);
}

#[actix_web::test]
async fn a_sandbox_tells_what_it_was_last_used_by() {
    let (bench, client) = start(&[]).await;
    let created = client.post("/v1/sandboxes", r#"{"id": "a"}"#).await;
    assert_eq!(created.must_succeed(201).json["last_activity_by"], "create");
    for (call, body, source) in [
        ("/v1/sandboxes/a/activity", "", "ping"),
        ("/v1/activity", r#"{"ids": ["a"]}"#, "batch"),
        ("/v1/sandboxes/a/keep-alive", "", "keep_alive"),
        ("/v1/sandboxes", r#"{"id": "a"}"#, "reuse"),
    ] {
        tokio::time::sleep(Duration::from_millis(10)).await;
        client.post(call, body).await.must_succeed(200);
        assert_eq!(client.get("/v1/sandboxes/a").await.json["last_activity_by"], source);
    }
    let bench = bench.crash_and_restart().await;
    let client = Client::of(&bench.supervisor).await;
    assert!(client.get("/v1/sandboxes/a").await.json["last_activity_by"].is_null());
}

#[actix_web::test]
async fn a_batch_of_ten_thousand_is_answered_id_by_id_in_its_order() {
    let (bench, client) = start(&[]).await;
    for name in ["a", "b", "ended"] {
        client.post("/v1/sandboxes", format!(r#"{{"id": "{name}"}}"#)).await.must_succeed(201);
    }
    client.delete("/v1/sandboxes/ended?wait=5").await.must_succeed(200);
    let mut ids: Vec<String> = (0..9_994).map(|number| format!("missing-{number}")).collect();
    ids.extend(["a", "not an id", "b", "ended", "a", ""].map(str::to_owned));
    assert_eq!(ids.len(), 10_000);
    let batch = client.post("/v1/activity", json!({ "ids": ids }).to_string()).await;
    let results = batch.must_succeed(200).json["results"].as_array().expect("an array");
    assert_eq!(results.len(), ids.len());
    for (id, result) in ids.iter().zip(results) {
        assert_eq!(result["sandbox_id"], **id);
        let (ok, code) = match id.as_str() {
            "a" | "b" => (true, None),
            "ended" => (false, Some("gone")),
            "not an id" | "" => (false, Some("invalid_id")),
            _ => (false, Some("not_found")),
        };
        assert_eq!((result["ok"].as_bool(), result["error"]["code"].as_str()), (Some(ok), code), "{result}");
        assert_eq!(result["idle_deadline"].is_number(), ok, "{result}");
    }
    assert!(bench.supervisor.metrics().contains("sandglass_pings_total{source=\"batch\"} 3\n"));
}

#[actix_web::test]
async fn a_batch_has_ids_and_not_too_many_of_them() {
    let (_bench, client) = start(&[]).await;
    let empty = client.post("/v1/activity", r#"{"ids": []}"#).await;
    assert_eq!(empty.must_succeed(200).json, json!({ "results": [] }));
    let ids: Vec<String> = (0..10_001).map(|number| number.to_string()).collect();
    for (body, field) in [
        (json!({ "ids": ids }).to_string(), "ids"),
        (String::new(), "ids"),
        (r#"{"ids": ["a", 5]}"#.to_owned(), "ids[1]"),
        (r#"{"ids": [], "id": "a"}"#.to_owned(), "id"),
    ] {
        let refused = client.post("/v1/activity", body).await;
        assert_eq!(refused.must_be(400, "invalid_request").field(), Some(field));
    }
}
