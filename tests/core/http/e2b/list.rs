//! The list, its filters and its pages.

use std::time::Duration;

use serde_json::{Value, json};

use super::created;
use crate::http::client::{Answer, Client, start};

fn ids(answer: &Answer) -> Vec<String> {
    let list = answer.must_succeed(200).json.as_array().expect("a list").clone();
    list.iter().map(|sandbox| sandbox["sandboxID"].as_str().expect("an id").to_owned()).collect()
}

async fn listed(client: &Client, query: &str) -> Vec<String> {
    ids(&client.get(&format!("/v2/sandboxes{query}")).await)
}

/// Sandboxes, the oldest first, a second apart.
async fn some(client: &Client, bodies: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut ids = Vec::new();
    for body in bodies {
        ids.push(created(client, body).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    ids
}

#[actix_web::test]
async fn the_newest_comes_first_and_the_next_page_begins_where_the_last_one_ended() {
    let (_bench, client) = start(&[]).await;
    let all = some(&client, (0..5).map(|_| json!({}))).await;
    let newest: Vec<_> = all.iter().rev().cloned().collect();
    let whole = client.get("/v2/sandboxes").await;
    assert_eq!(ids(&whole), newest);
    assert_eq!((whole.header("x-next-token"), whole.header("x-total-running")), (None, Some("5")));
    for (order, expected) in [("", &newest), ("&order=desc", &newest), ("&order=asc", &all)] {
        let mut pages = Vec::new();
        let mut token = String::new();
        loop {
            let page = client.get(&format!("/v2/sandboxes?limit=2{order}&nextToken={token}")).await;
            let found = ids(&page);
            assert!(found.len() <= 2);
            pages.extend(found);
            match page.header("x-next-token") {
                Some(next) => token = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(pages, *expected, "{order}");
    }
}

#[actix_web::test]
async fn a_list_is_filtered_by_state_metadata_template_and_age() {
    let other = [("templates.other.image", "busybox:stable")];
    let (_bench, client) = start(&other).await;
    let owner = |name: &str| json!({ "metadata": { "owner": name, "n": "1" } });
    let all = some(&client, [owner("a b&c=d"), owner("x"), json!({ "templateID": "other" })]).await;
    client.post(&format!("/sandboxes/{}/pause", all[1]), "{}").await.must_succeed(204);
    for (query, expected) in [
        ("?state=running", vec![&all[2], &all[0]]),
        ("?state=paused", vec![&all[1]]),
        ("?state=running,paused", vec![&all[2], &all[1], &all[0]]),
        ("?state=running%2Cpaused", vec![&all[2], &all[1], &all[0]]),
        ("?metadata=owner%3Da%252520b%252526c%25253Dd", vec![&all[0]]),
        ("?metadata=owner%3Dx%26n%3D1", vec![&all[1]]),
        ("?metadata=owner%3Dx%26n%3D2", vec![]),
        ("?template=other", vec![&all[2]]),
        ("?template=nothing", vec![]),
        ("?unknown=1", vec![&all[2], &all[1], &all[0]]),
    ] {
        assert_eq!(listed(&client, query).await.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let second =
        client.get(&format!("/sandboxes/{}", all[1])).await.json["startedAt"].as_str().expect("a time").to_owned();
    assert_eq!(listed(&client, &format!("?startedAfter={second}")).await, [all[2].clone(), all[1].clone()]);
    // Old SDKs list what runs.
    assert_eq!(ids(&client.get("/sandboxes").await), [all[2].clone(), all[0].clone()]);
    let paused = client.get("/v2/sandboxes?state=paused").await;
    assert_eq!((paused.header("x-total-running"), &paused.json[0]["state"]), (Some("2"), &json!("paused")));
    for wrong in ["limit=0", "limit=101", "limit=x", "state=gone", "order=up", "nextToken=x", "startedAfter=x"] {
        client.get(&format!("/v2/sandboxes?{wrong}")).await.must_refuse(400);
    }
}

#[actix_web::test]
async fn what_has_ended_is_not_listed() {
    let (_bench, client) = start(&[]).await;
    let id = created(&client, json!({})).await;
    client.delete(&format!("/sandboxes/{id}")).await.must_succeed(204);
    assert_eq!(listed(&client, "").await, Vec::<String>::new());
}
