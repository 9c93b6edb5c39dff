//! Lists.

use std::collections::BTreeSet;

use serde_json::Value;

use super::client::{Answer, Client, start};

fn ids(answer: &Answer) -> Vec<String> {
    let sandboxes = answer.must_succeed(200).json["sandboxes"].as_array().expect("an array");
    sandboxes.iter().map(|sandbox| sandbox["sandbox_id"].as_str().expect("a text").to_owned()).collect()
}

/// Reads all pages of a list, and returns the lengths of the pages, too.
async fn pages(client: &Client, query: &str) -> (Vec<String>, Vec<usize>) {
    let (mut all, mut lengths, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/sandboxes?{query}{cursor}")).await;
        let found = ids(&page);
        lengths.push(found.len());
        all.extend(found);
        match &page.json["next_cursor"] {
            Value::Null => return (all, lengths),
            next => cursor = format!("&cursor={}", next.as_str().expect("a text")),
        }
    }
}

#[actix_web::test]
async fn every_sandbox_is_on_exactly_one_page() {
    let (_bench, client) = start(&[]).await;
    let mut wanted = BTreeSet::new();
    for number in 0..250 {
        let created = client.post("/v1/sandboxes", format!(r#"{{"id": "s-{number}"}}"#)).await;
        wanted.insert(created.must_succeed(201).json["sandbox_id"].as_str().expect("a text").to_owned());
    }
    for (query, lengths) in [
        ("", vec![100, 100, 50]),
        ("limit=125", vec![125, 125]),
        ("limit=1000", vec![250]),
        ("limit=249", vec![249, 1]),
    ] {
        let (all, found) = pages(&client, query).await;
        assert_eq!(found, lengths, "{query}");
        assert!(all.is_sorted());
        assert_eq!(all.len(), wanted.len());
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), wanted);
    }
}

#[actix_web::test]
async fn filters_find_what_they_name() {
    let (_bench, client) = start(&[]).await;
    for body in [
        r#"{"id": "a", "metadata": {"task": 1001, "team": "red"}}"#,
        r#"{"id": "b", "metadata": {"task": "1001", "team": "blue"}}"#,
        r#"{"id": "c", "metadata": {"task": 7, "note": "a b&c"}}"#,
        r#"{"id": "d"}"#,
    ] {
        client.post("/v1/sandboxes", body).await.must_succeed(201);
    }
    client.post("/v1/sandboxes/c/pause", "").await.must_succeed(200);
    client.delete("/v1/sandboxes/d?wait=5").await.must_succeed(200);
    for (query, found) in [
        ("", "abc"),
        ("status=running", "ab"),
        ("status=running,paused", "abc"),
        ("status=paused&status=terminated", "cd"),
        ("status=terminated", "d"),
        ("status=failed", ""),
        ("metadata.task=1001", "ab"),
        ("metadata.task=1001&metadata.team=red", "a"),
        ("metadata.note=a+b%26c", "c"),
        ("metadata.task=1001&status=paused", ""),
        ("metadata.nothing=1", ""),
        ("limit=1&cursor=a", "b"),
        ("cursor=zzz", ""),
    ] {
        let answer = client.get(&format!("/v1/sandboxes?{query}")).await;
        assert_eq!(ids(&answer).concat(), found, "{query}");
    }
}
