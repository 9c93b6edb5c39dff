//! What does not belong to any of the services.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use serde_json::json;

use crate::client::Client;

#[tokio::test]
async fn health_tells_the_version() {
    let client = Client::new().await;
    let response = client.send(Request::get("http://agent/health").body(Full::default()).unwrap()).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["sandglass-agent"], sandglass_agent::VERSION);
}

#[tokio::test]
async fn the_environment_and_what_is_used_are_told() {
    let client = Client::new().await;
    let get = async |path: &str| {
        let request = Request::get(format!("http://agent{path}")).body(Full::<Bytes>::default()).unwrap();
        let response = client.send(request).await;
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    };
    assert_eq!(get("/envs").await["PATH"].as_str(), std::env::var("PATH").ok().as_deref());
    let told = get("/metrics").await;
    for name in ["ts", "cpu_count", "cpu_used_pct", "mem_total", "mem_used", "mem_cache", "disk_used", "disk_total"] {
        assert!(told[name].is_number(), "{name}: {told}");
    }
    let request = Request::post("http://agent/init").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(client.send(request).await.status(), 204);
}

#[tokio::test]
async fn an_unknown_path_or_call_is_told() {
    let client = Client::new().await;
    let request = |path: &str| Request::get(format!("http://agent{path}")).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(client.send(request("/nothing")).await.status(), 404);
    let (status, error) = client.call("/process.Process/Nothing", json!({})).await;
    assert_eq!((status, error["code"].as_str()), (501, Some("unimplemented")));
}

#[tokio::test]
async fn http_1_1_is_spoken_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let agent = crate::client::agent();
    tokio::spawn(async move { _ = sandglass_agent::serve(far, &agent).await });
    near.write_all(b"GET /health HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
}

#[tokio::test]
async fn a_stream_is_not_answered_before_its_question_is_read() {
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let agent = crate::client::agent();
    tokio::spawn(async move { _ = sandglass_agent::serve(far, &agent).await });
    let head = "POST /process.Process/Connect HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
                Content-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n";
    near.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1 << 10];
    // Long enough for an answer in memory, if there were one.
    let early = tokio::time::timeout(Duration::from_millis(100), near.read(&mut answer)).await;
    assert!(early.is_err(), "{}", String::from_utf8_lossy(&answer));
    near.write_all(b"7\r\n\0\0\0\0\x02{}\r\n0\r\n\r\n").await.unwrap();
    let read = tokio::time::timeout(crate::client::BOUND, near.read(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
}
