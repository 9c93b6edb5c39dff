//! Texts of one client never break the answers to another: they are checked when they come in, and those already in
//! records are repaired on their way out.

use serde_json::{Value, json};

use super::{
    bench::{Bench, id},
    client::{Client, start},
    watcher::Watcher,
};

#[actix_web::test]
async fn what_no_reader_can_take_is_refused_at_any_depth_with_its_path() {
    let (bench, client) = start(&[]).await;
    for (body, field) in [
        (r#"{"metadata": {"a": "\ud800"}}"#, "metadata.a"),
        (r#"{"metadata": {"a": ["x", "\udc00\ud800"]}}"#, "metadata.a[1]"),
        (r#"{"metadata": {"a": {"b": [{"c": "\ud83d-"}]}}}"#, "metadata.a.b[0].c"),
        (r#"{"metadata": {"a": {"\ud800": 1}}}"#, "metadata.a"),
        (r#"{"metadata": {"\ud800": 1}}"#, "metadata"),
        (r#"{"metadata": {"n": 1e999}}"#, "metadata.n"),
        (r#"{"metadata": {"n": [0, -1E+999]}}"#, "metadata.n[1]"),
        (r#"{"metadata": {"a": {"b": 1, "b": 2}}}"#, "metadata.a.b"),
        (r#"{"user_id": "\ud800"}"#, "user_id"),
        (r#"{"user_id": 1e999}"#, "user_id"),
        (r#"{"user_name": "\ud800"}"#, "user_name"),
        (r#"{"executor_namespace": "\ud800"}"#, "executor_namespace"),
        (r#"{"shell_type": "\ud800"}"#, "shell_type"),
        (r#"{"id": "\ud800"}"#, "id"),
        (r#"{"env": {"A": "\ud800"}}"#, "env.A"),
        (r#"{"command": ["sh", "\ud800"]}"#, "command[1]"),
        (r#"{"timeout": 1e999}"#, "timeout"),
        (r#"{"limits": {"cpus": 1e999}}"#, "limits.cpus"),
    ] {
        let refused = client.post("/v1/sandboxes", body).await;
        assert_eq!(refused.must_be(400, "invalid_request").field(), Some(field), "{body}: {}", refused.text);
        assert!(refused.message().contains(field), "{}", refused.text);
    }
    let digits = format!(r#"{{"metadata": {{"n": 1{}}}}}"#, "0".repeat(400));
    assert_eq!(client.post("/v1/sandboxes", digits).await.must_be(400, "invalid_request").field(), Some("metadata.n"));
    let deep = format!(r#"{{"metadata": {{"a": {}1{}}}}}"#, "[".repeat(9_000), "]".repeat(9_000));
    let refused = client.post("/v1/sandboxes", deep).await;
    assert!(refused.must_be(400, "invalid_request").field().is_some_and(|field| field.starts_with("metadata.a")));
    let refused = client.post("/v1/activity", r#"{"ids": ["one", "\ud800"]}"#).await;
    assert_eq!(refused.must_be(400, "invalid_request").field(), Some("ids[1]"));
    assert!(bench.runtime.is_empty(), "nothing was started");
}

#[actix_web::test]
async fn every_text_and_number_that_is_one_is_taken() {
    let (_bench, client) = start(&[]).await;
    let metadata =
        r#"{"\ud83d\ude00":"\ud83d\ude00 \u0000 \\ud800 \"\\","n":[-0.0,1e-999,1.7976931348623157e308],"a":{}}"#;
    let created = client.post("/v1/sandboxes", format!(r#"{{"metadata": {metadata}}}"#)).await;
    created.must_succeed(201);
    assert_eq!(created.json["metadata"], serde_json::from_str::<Value>(metadata).expect("JSON"));
}

#[actix_web::test]
async fn a_parameter_that_is_no_text_is_refused() {
    let (_bench, client) = start(&[]).await;
    for (query, field) in
        [("metadata.a=%ED%A0%80", "metadata.a"), ("status=%FF", "status"), ("metadata.%C3=x", "query")]
    {
        for path in ["/v1/sandboxes", "/v1/events"] {
            let refused = client.get(&format!("{path}?{query}")).await;
            assert_eq!(refused.must_be(400, "invalid_request").field(), Some(field), "{}", refused.text);
        }
    }
    client.get("/v1/sandboxes?metadata.a=%C3%BC%20%F0%9F%98%80&metadata.b=100%25").await.must_succeed(200);
    client.get("/v1/sandboxes/%ED%A0%80").await.must_be(400, "invalid_id");
}

/// A record that earlier versions or the reference system may have left.
const BROKEN: &str = r#"{"status":"running","base_url":"http://127.0.0.1:1","created_at":1799999999,"last_activity_at":1799999999,
    "expires_at":1800003600,"idle_timeout":3600,"v":1,"user_id":"u\ud800",
    "metadata":{"a":["\ud800x",{"\udfff":1e999}],"fine":"\ud83d\ude00","big":123456789012345678901234567890}}"#;

#[actix_web::test]
async fn a_record_that_breaks_readers_is_answered_in_a_form_that_does_not() {
    let bench = Bench::over(&[], |store| store.plant("old", 1_799_999_999.0, BROKEN)).await;
    let client = Client::of(&bench.supervisor).await;
    let mended = json!({"a": ["\u{fffd}x", {"\u{fffd}": "1e999"}], "fine": "\u{1f600}", "big": 123456789012345678901234567890_f64});
    let one = client.get("/v1/sandboxes/old").await;
    assert_eq!((&one.json["metadata"], &one.json["user_id"]), (&mended, &json!("u\u{fffd}")), "{}", one.text);
    assert!(
        one.text.contains(r#""fine":"\ud83d\ude00""#) && one.text.contains(":123456789012345678901234567890"),
        "the rest is as it was"
    );
    assert_eq!(client.get("/v1/sandboxes").await.json["sandboxes"][0]["metadata"], mended);
    let watcher = Watcher::start(&bench.supervisor, "");
    watcher.until("the snapshot", |known| known.sandboxes.contains_key("old")).await;
    assert_eq!(watcher.known.borrow().sandboxes["old"]["metadata"], mended);
    // Records are written again unchanged.
    client.post("/v1/sandboxes/old/keep-alive", "").await.must_succeed(200);
    assert_eq!(watcher.until_told("activity", "old").await["sandbox"]["user_id"], "u\u{fffd}");
    let kept = String::from_utf8(bench.store.record(id("old").as_str()).expect("a record")).expect("UTF-8");
    assert!(kept.contains(r#""user_id":"u\ud800""#) && kept.contains(r#""a":["\ud800x",{"\udfff":1e999}]"#), "{kept}");
}
