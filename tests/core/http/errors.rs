//! Errors have one shape, and name what is wrong.

use actix_web::{
    http::{Method, header},
    test::TestRequest,
};
use serde_json::json;

use super::client::start;

#[actix_web::test]
async fn a_wrong_field_is_named_by_its_path() {
    let (_bench, client) = start(&[]).await;
    for (body, field) in [
        (r#"{"idel_timeout": 5}"#, "idel_timeout"),
        (r#"{"ports": [80, 70000]}"#, "ports[1]"),
        (r#"{"ports": [0]}"#, "ports[0]"),
        (r#"{"ports": [80, 80]}"#, "ports"),
        (r#"{"timeout": "soon"}"#, "timeout"),
        (r#"{"ports": 80}"#, "ports"),
        (r#"{"env": {"A": 1}}"#, "env.A"),
        (r#"{"env": {"1A": "x"}}"#, "env.1A"),
        (r#"{"limits": {"cpus": "two"}}"#, "limits.cpus"),
        (r#"{"limits": {"disk": 1}}"#, "limits.disk"),
        (r#"{"limits": [1, 64, 8]}"#, "limits"),
        (r#"{"limits": {"pids": 1.5}}"#, "limits.pids"),
        (r#"{"limits": {"memory_mb": -1.0}}"#, "limits.memory_mb"),
        (r#"{"ports": [80, 80.5]}"#, "ports[1]"),
        (r#"{"template": "base", "shell_type": "nonesuch"}"#, "shell_type"),
        (r#"{"command": ["sh", 1]}"#, "command[1]"),
        (r#"{"on_timeout": "explode"}"#, "on_timeout"),
        (r#"{"template": "nonesuch"}"#, "template"),
        (r#"{"image": "-v"}"#, "image"),
        (r#"{"user_id": {}}"#, "user_id"),
        (r#"{"metadata": []}"#, "metadata"),
        (r#"{"id": 5}"#, "id"),
    ] {
        let refused = client.post("/v1/sandboxes", body).await;
        assert_eq!(refused.must_be(400, "invalid_request").field(), Some(field), "{}", refused.text);
        assert!(refused.message().contains(field), "{}", refused.text);
    }
    let refused = client.post("/v1/sandboxes", r#"{"ports": ["80"]}"#).await;
    assert!(refused.message().ends_with("expected a number"), "{}", refused.text);
    let refused = client.post("/v1/sandboxes", r#"{"id": "a/b"}"#).await;
    assert_eq!(refused.must_be(400, "invalid_id").field(), Some("id"));
}

#[actix_web::test]
async fn a_body_that_is_no_json_object_is_told_where() {
    let (_bench, client) = start(&[]).await;
    let refused = client.post("/v1/sandboxes", "{\"id\": \"a\",\n nonsense").await;
    assert_eq!(refused.must_be(400, "invalid_request").json["error"]["details"]["line"], 2, "{}", refused.text);
    assert!(refused.message().contains("line 2"), "{}", refused.text);
    for body in ["[]", "5", "null", "{} {}", "{\"id\": \"a\", \"id\": \"b\"}", "\u{feff}{}"] {
        client.post("/v1/sandboxes", body).await.must_be(400, "invalid_request");
    }
}

#[actix_web::test]
async fn the_content_type_does_not_matter_when_the_body_is_json() {
    let (_bench, client) = start(&[]).await;
    for kind in ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"] {
        let request = TestRequest::post().uri("/v1/sandboxes").insert_header((header::CONTENT_TYPE, kind));
        client.send(request.set_payload("{}")).await.must_succeed(201);
    }
}

#[actix_web::test]
async fn a_body_beyond_the_limit_is_refused_whether_it_says_so_or_not() {
    let (_bench, client) = start(&[("http.max_body_bytes", "1024")]).await;
    let body = format!(r#"{{"user_name": "{}"}}"#, "x".repeat(1100));
    client.post("/v1/sandboxes", body).await.must_be(413, "too_large");
    let announced = TestRequest::post().uri("/v1/sandboxes").set_payload("{}");
    client.send(announced.insert_header((header::CONTENT_LENGTH, "99999999"))).await.must_be(413, "too_large");
    let fits = format!(r#"{{"user_name": "{}"}}"#, "x".repeat(900));
    client.post("/v1/sandboxes", fits).await.must_succeed(201);
}

#[actix_web::test]
async fn bad_query_parameters_are_named() {
    let (_bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", r#"{"id": "one"}"#).await.must_succeed(201);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("status=alive", "status"),
        ("status=running,", "status"),
        ("cursor=a%2Fb", "cursor"),
        ("metadata.=x", "metadata."),
        ("state=running", "state"),
    ] {
        let refused = client.get(&format!("/v1/sandboxes?{query}")).await;
        assert_eq!(refused.must_be(400, "invalid_request").field(), Some(field), "{}", refused.text);
    }
    for query in ["wait=301", "wait=-1", "wait=soon", "wait=NaN", "wait="] {
        let refused = client.delete(&format!("/v1/sandboxes/one?{query}")).await;
        assert_eq!(refused.must_be(400, "invalid_request").field(), Some("wait"), "{}", refused.text);
    }
    let refused = client.post("/v1/sandboxes?wait=2", "").await;
    assert_eq!(refused.must_be(400, "invalid_request").field(), Some("wait"));
    let refused = client.post("/v1/sandboxes?now=1", "").await;
    assert_eq!(refused.must_be(400, "invalid_request").field(), Some("now"));
}

#[actix_web::test]
async fn what_cannot_be_an_id_is_said_to_be_none() {
    let (_bench, client) = start(&[]).await;
    let long = "x".repeat(64);
    for id in ["-a", "a%20b", "a%2Fb", "%C3%BC", long.as_str()] {
        client.get(&format!("/v1/sandboxes/{id}")).await.must_be(400, "invalid_id");
        client.post(&format!("/v1/sandboxes/{id}/activity"), "").await.must_be(400, "invalid_id");
    }
}

#[actix_web::test]
async fn every_call_on_an_unknown_id_is_not_found() {
    let (_bench, client) = start(&[]).await;
    client.get("/v1/sandboxes/nobody").await.must_be(404, "not_found");
    client.get("/v1/sandboxes/nobody/why").await.must_be(404, "not_found");
    client.delete("/v1/sandboxes/nobody").await.must_be(404, "not_found");
    for call in ["activity", "keep-alive", "heartbeat", "pause", "resume"] {
        client.post(&format!("/v1/sandboxes/nobody/{call}"), "").await.must_be(404, "not_found");
    }
}

#[actix_web::test]
async fn an_unknown_path_is_not_found_and_a_wrong_method_is_told_the_right_ones() {
    let (_bench, client) = start(&[]).await;
    for path in ["/v1", "/v4/sandboxes", "/v1/sandboxes/", "/v1/sandboxes/a/explode", "//v1/sandboxes"] {
        client.get(path).await.must_be(404, "not_found");
    }
    for (method, path, allow) in [
        (Method::PUT, "/v1/sandboxes", "GET, POST, HEAD"),
        (Method::POST, "/v1/sandboxes/a", "GET, DELETE, HEAD"),
        (Method::GET, "/v1/sandboxes/a/activity", "POST"),
        (Method::OPTIONS, "/v1/activity", "POST"),
        (Method::POST, "/healthz", "GET, HEAD"),
    ] {
        let refused = client.send(TestRequest::with_uri(path).method(method)).await;
        assert_eq!(refused.must_be(405, "method_not_allowed").header("allow"), Some(allow));
    }
    client.send(TestRequest::with_uri("/healthz").method(Method::HEAD)).await.must_succeed(200);
}

#[actix_web::test]
async fn calls_without_a_body_take_an_empty_object_and_nothing_else() {
    let (_bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", r#"{"id": "one"}"#).await.must_succeed(201);
    for call in ["activity", "heartbeat", "pause", "resume"] {
        let refused = client.post(&format!("/v1/sandboxes/one/{call}"), r#"{"timeout": 5}"#).await;
        assert_eq!(refused.must_be(400, "invalid_request").field(), Some("timeout"), "{call}");
        client.post(&format!("/v1/sandboxes/one/{call}"), " {} ").await.must_succeed(200);
    }
}

#[actix_web::test]
async fn one_that_ended_is_gone_with_the_reason() {
    let (bench, client) = start(&[]).await;
    client.post("/v1/sandboxes", r#"{"id": "one"}"#).await.must_succeed(201);
    client.delete("/v1/sandboxes/one?wait=5").await.must_succeed(200);
    let before = bench.now();
    for call in ["activity", "keep-alive", "heartbeat", "pause", "resume"] {
        let gone = client.post(&format!("/v1/sandboxes/one/{call}"), "").await;
        let details = &gone.must_be(410, "gone").json["error"]["details"];
        assert_eq!((&details["status"], &details["reason"]), (&json!("terminated"), &json!("requested")));
        assert!(details["exit_code"].is_null());
        assert!((details["ended_at"].as_f64().expect("a time") - before).abs() < 5.0);
    }
    client.delete("/v1/sandboxes/one").await.must_be(410, "gone");
    assert_eq!(client.get("/v1/sandboxes/one").await.must_succeed(200).json["reason"], "requested");
}
