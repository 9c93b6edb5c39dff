//! The two promises through this door: what was answered holds across kills and restarts, and nothing is made twice.

use std::time::Duration;

use actix_web::test::TestRequest;
use sandglass::store::MemoryStore;
use serde_json::{Value, json};

use super::{create, created, seconds};
use crate::{
    http::client::{Answer, Client, start},
    support::bench::Bench,
};

/// Creates a sandbox with an idempotency key, as a client with an API key.
async fn create_once(client: &Client, api_key: &str, key: &str, template: &str) -> Answer {
    let request = TestRequest::post().uri("/v2/sandboxes").insert_header(("X-API-Key", api_key));
    let request = request.insert_header(("Idempotency-Key", key));
    client.send(request.set_payload(json!({ "templateID": template }).to_string())).await
}

#[actix_web::test]
async fn a_timeout_that_was_answered_holds_across_a_kill_and_a_restart() {
    for (call, body, promised) in [
        ("timeout", r#"{"timeout": 500}"#, 500),
        ("connect", r#"{"timeout": 400}"#, 400),
        ("refreshes", r#"{"duration": 450}"#, 450),
    ] {
        for clean in [false, true] {
            let (bench, client) = start(&[("lifecycle.restart_grace", "0")]).await;
            let id = created(&client, json!({ "timeout": 20 })).await;
            let answer = client.post(&format!("/sandboxes/{id}/{call}"), body).await;
            assert!(answer.status.is_success(), "{}", answer.text);
            let path = format!("/sandboxes/{id}");
            let before = client.get(&path).await.json;
            let bench = if clean { bench.stop_and_restart().await } else { bench.crash_and_restart().await };
            let client = Client::of(&bench.supervisor).await;
            let after = client.get(&path).await;
            assert_eq!(after.must_succeed(200).json["endAt"], before["endAt"], "{call}");
            tokio::time::sleep(Duration::from_secs(promised - 10)).await;
            client.get(&path).await.must_succeed(200);
            tokio::time::sleep(Duration::from_secs(20)).await;
            client.get(&path).await.must_refuse(404);
            // The next round has a bench of its own.
            tokio::time::resume();
        }
    }
}

#[actix_web::test]
async fn the_same_idempotency_key_gets_the_same_sandbox_also_after_a_restart() {
    let (bench, client) = start(&[]).await;
    let first = create_once(&client, "e2b_a", "k", "base").await;
    let id = first.must_succeed(201).json["sandboxID"].clone();
    assert_eq!(create_once(&client, "e2b_a", "k", "base").await.must_succeed(201).json, first.json);
    for (api_key, key) in [("e2b_b", "k"), ("e2b_a", "l"), ("e2b_a", "")] {
        let other = create_once(&client, api_key, key, "base").await;
        assert_ne!(other.must_succeed(201).json["sandboxID"], id, "{api_key} {key}");
    }
    let bench = bench.crash_and_restart().await;
    let client = Client::of(&bench.supervisor).await;
    assert_eq!(create_once(&client, "e2b_a", "k", "base").await.must_succeed(201).json["sandboxID"], id);
    assert_eq!(bench.runtime.len(), 4);
}

#[actix_web::test]
async fn an_idempotency_key_that_was_used_for_something_else_is_told_so() {
    let (_bench, client) = start(&[("templates.other.image", "busybox:stable")]).await;
    let first = create_once(&client, "e2b_a", "k", "base").await;
    let id = first.must_succeed(201).json["sandboxID"].as_str().expect("an id").to_owned();
    let other = create_once(&client, "e2b_a", "k", "other").await;
    let says = other.must_refuse(409).says();
    assert!(
        says.contains("Idempotency-Key") && says.contains("template base") && says.contains("another key"),
        "{says}"
    );
    assert!(says.contains(&id), "{says}");
}

#[actix_web::test]
async fn what_a_create_said_is_known_without_its_record() {
    let (bench, client) = start(&[("docker.orphan_grace", "0"), ("docker.reconcile_interval", "5")]).await;
    let network = json!({ "allowPublicTraffic": false, "maskRequestHost": "localhost:${PORT}" });
    let more = json!({ "network": network, "autoPause": true, "autoResume": { "enabled": true }, "timeout": 600 });
    let answer = create(&client, more).await;
    let id = answer.must_succeed(201).json["sandboxID"].as_str().expect("an id").to_owned();
    assert!(answer.json["trafficAccessToken"].is_string());
    let path = format!("/sandboxes/{id}");
    let before = client.get(&path).await.json;
    assert_eq!(before["network"], network);
    assert_eq!(before["lifecycle"], json!({ "onTimeout": "pause", "autoResume": true }));

    // A restart with the record, then one without.
    let bench = bench.crash_and_restart().await;
    let same = |now: &Value| {
        for field in ["network", "lifecycle", "envdAccessToken", "startedAt"] {
            assert_eq!(now[field], before[field], "{field}");
        }
    };
    let client = Client::of(&bench.supervisor).await;
    same(&client.get(&path).await.must_succeed(200).json);
    bench.store.bury_holder();
    let bench: Bench = bench.start_on(MemoryStore::new()).await;
    let client = Client::of(&bench.supervisor).await;
    for _ in 0..100 {
        if client.get(&path).await.status.as_u16() == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let adopted = client.get(&path).await;
    same(&adopted.must_succeed(200).json);
    assert!(seconds(&adopted.json["startedAt"], &adopted.json["endAt"]) >= 600.0);
    let again = client.post(&format!("{path}/connect"), r#"{"timeout": 5}"#).await;
    assert_eq!(again.must_succeed(200).json["trafficAccessToken"], answer.json["trafficAccessToken"]);
}

#[actix_web::test]
async fn tokens_differ_by_sandbox_and_purpose_and_a_new_key_revokes_them() {
    let traffic = json!({ "network": { "allowPublicTraffic": false } });
    let mut seen = std::collections::BTreeSet::new();
    for key in ["e2b_1", "e2b_2"] {
        let (_bench, client) = start(&[("http.api_key", key)]).await;
        for name in ["a", "b"] {
            let request = TestRequest::post().uri("/v2/sandboxes").insert_header(("X-API-Key", key));
            let request = request.insert_header(("Idempotency-Key", name));
            let mut body = traffic.clone();
            body["templateID"] = "base".into();
            let answer = client.send(request.set_payload(body.to_string())).await;
            for field in ["envdAccessToken", "trafficAccessToken"] {
                let token = answer.must_succeed(201).json[field].as_str().expect("a token").to_owned();
                assert_eq!(token.len(), 64);
                assert!(seen.insert(token), "{field} of {name} is not its own");
            }
        }
        // The next round has a bench of its own.
        tokio::time::resume();
    }
}
