//! Snapshots and forks.

use serde_json::{Value, json};

use super::{create, created, request};
use crate::http::client::start;

async fn take(client: &super::Client, id: &str, asked: Value) -> Value {
    let answer = client.post(&format!("/sandboxes/{id}/snapshots"), asked.to_string()).await;
    answer.must_succeed(201).json.clone()
}

#[actix_web::test]
async fn a_snapshot_is_listed_makes_sandboxes_and_is_removed_once() {
    let (_bench, client) = start(&[]).await;
    let id = created(&client, json!({ "timeout": 60 })).await;
    let other = created(&client, json!({ "timeout": 60 })).await;
    let plain = take(&client, &id, json!({})).await;
    // The newest comes first.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let named = take(&client, &other, json!({ "name": "mine", "memory": false })).await;
    assert_eq!((&plain["names"], &named["names"]), (&json!([]), &json!(["mine"])));
    for (query, expected) in [
        ("", vec![&named, &plain]),
        ("?name=mine", vec![&named]),
        ("?name=other", vec![]),
        (&format!("?sandboxID={id}"), vec![&plain]),
    ] {
        let listed = client.get(&format!("/snapshots{query}")).await;
        assert_eq!(listed.must_succeed(200).json, json!(expected), "{query}");
    }
    let first = client.get("/snapshots?limit=1").await;
    assert_eq!(first.must_succeed(200).json, json!([named]));
    let token = first.header("x-next-token").unwrap();
    let second = client.get(&format!("/snapshots?limit=1&nextToken={token}")).await;
    assert_eq!((&second.must_succeed(200).json, second.header("x-next-token")), (&json!([plain]), None));
    for called in [plain["snapshotID"].as_str().unwrap(), "mine"] {
        let made = create(&client, json!({ "templateID": called })).await;
        let made = made.must_succeed(201).json["sandboxID"].as_str().unwrap().to_owned();
        client.get(&format!("/sandboxes/{made}")).await.must_succeed(200);
        let path = format!("/templates/{called}");
        client.send(request("DELETE", &path)).await.must_succeed(204);
        client.send(request("DELETE", &path)).await.must_refuse(404);
        create(&client, json!({ "templateID": called })).await.must_refuse(404);
    }
}

#[actix_web::test]
async fn a_fork_lives_by_its_own_timeout_and_the_rest_is_as_before() {
    let (_bench, client) = start(&[]).await;
    let asked = json!({ "timeout": 600, "autoPause": true, "metadata": { "owner": "me" }, "network": { "allowPublicTraffic": false } });
    let id = created(&client, asked).await;
    let forks = client.post(&format!("/sandboxes/{id}/fork"), json!({ "count": 2, "timeout": 60 }).to_string()).await;
    let forks = forks.must_succeed(201).json.as_array().unwrap().clone();
    assert_eq!(forks.len(), 2);
    for fork in &forks {
        let sandbox = &fork["sandbox"];
        assert!(sandbox["trafficAccessToken"].is_string(), "its ports are as private as those of the first: {sandbox}");
        let info = client.get(&format!("/sandboxes/{}", sandbox["sandboxID"].as_str().unwrap())).await;
        let info = &info.must_succeed(200).json;
        assert_eq!((&info["metadata"], &info["lifecycle"]["onTimeout"]), (&json!({ "owner": "me" }), &json!("pause")));
        let lives = super::seconds(&info["startedAt"], &info["endAt"]);
        assert!((60.0..61.0).contains(&lives), "{lives}");
    }
    assert_eq!(client.get("/snapshots").await.must_succeed(200).json, json!([]));
}

#[actix_web::test]
async fn what_a_snapshot_cannot_be_is_refused_with_the_field() {
    let (_bench, client) = start(&[]).await;
    let id = created(&client, json!({ "timeout": 60 })).await;
    for (call, asked, field) in [
        ("snapshots", json!({ "memory": true }), "memory"),
        ("snapshots", json!({ "name": "base" }), "name"),
        ("snapshots", json!({ "name": "a/b" }), "name"),
        ("fork", json!({ "count": 0 }), "count"),
        ("fork", json!({ "timeout": 0 }), "timeout"),
    ] {
        let refused = client.post(&format!("/sandboxes/{id}/{call}"), asked.to_string()).await;
        assert!(refused.must_refuse(400).says().contains(field), "{asked}: {}", refused.says());
    }
    client.get("/snapshots?limit=0").await.must_refuse(400);
    client.send(request("DELETE", &format!("/sandboxes/{id}"))).await.must_succeed(204);
    for call in ["snapshots", "fork"] {
        client.post(&format!("/sandboxes/{id}/{call}"), "{}".to_owned()).await.must_refuse(404);
    }
}

#[actix_web::test]
async fn what_is_made_of_a_snapshot_has_the_limits_and_ports_that_were_asked_for() {
    let (_bench, client) = start(&[]).await;
    let asked = json!({ "id": "first", "limits": { "memory_mb": 100, "cpus": 0.5 }, "ports": [8000, 8001] });
    client.post("/v1/sandboxes", asked.to_string()).await.must_succeed(201);
    let named = take(&client, "first", json!({ "name": "mine" })).await;
    let made = create(&client, json!({ "templateID": named["snapshotID"] })).await;
    let made = made.must_succeed(201).json["sandboxID"].as_str().expect("an id").to_owned();
    // Also a fork of what was made of it.
    let forks = client.post(&format!("/sandboxes/{made}/fork"), "").await;
    let fork = forks.must_succeed(201).json[0]["sandbox"]["sandboxID"].as_str().expect("an id").to_owned();
    for sandbox in [&made, &fork] {
        let told = client.get(&format!("/v1/sandboxes/{sandbox}")).await;
        let ports: Vec<_> = told.json["ports"].as_object().expect("ports").keys().cloned().collect();
        assert_eq!(ports, ["8000", "8001"], "{}", told.text);
        let used = client.get(&format!("/v1/sandboxes/{sandbox}/stats")).await;
        let used = &used.must_succeed(200).json;
        assert_eq!((&used["memory_limit_bytes"], &used["cpus_available"]), (&json!(100 << 20), &json!(0.5)), "{used}");
    }
}
