//! Requests that the HTTP library refuses before any handler.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use super::wire::Wire;

/// The status and error of an answer, which has to have the shape of all errors.
fn refusal(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let lower = head.to_ascii_lowercase();
    for header in [
        "content-type: application/json",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "connection: close",
        &format!("content-length: {}", body.len()),
    ] {
        assert_eq!(lower.split("\r\n").filter(|line| *line == header).count(), 1, "{header} in {answer}");
    }
    let mut body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    let mut error = body["error"].take();
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    (status, error["code"].take())
}

#[actix_web::test]
async fn what_cannot_be_read_is_refused_in_the_one_shape_of_errors() {
    let wire = Wire::start(64, &[]).await;
    let long = "x".repeat(140_000);
    for (request, status, code) in [
        ("GARBAGE\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("GET /healthz HTTP/1.1\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("POST /v1/sandboxes HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("POST /v1/sandboxes HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_owned(), 400, "invalid_request"),
        (
            "POST /v1/sandboxes HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_owned(),
            400,
            "invalid_request",
        ),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100)), 431, "headers_too_large"),
        (format!("GET /healthz HTTP/1.1\r\nHost: a\r\nLong: {long}"), 431, "headers_too_large"),
        (format!("POST /{long}"), 431, "headers_too_large"),
    ] {
        let answer = wire.exchange(&request).await;
        let start = &request[..request.len().min(90)];
        assert_eq!(refusal(&answer), (status, code.into()), "{start:?}: {answer}");
    }
    wire.stop().await;
}

#[actix_web::test]
async fn a_head_that_does_not_come_to_its_end_is_refused_in_the_one_shape_of_errors() {
    let wire = Wire::start(64, &[]).await;
    for begun in ["GET /healthz HTTP/1.1\r\nHost: a\r\n", "POST /v1/sandboxes/one/activity HTTP/1.0\r\n"] {
        let answer = wire.exchange(begun).await;
        assert_eq!(refusal(&answer), (408, "request_timeout".into()), "{begun:?}: {answer}");
    }
    wire.stop().await;
}

#[actix_web::test]
async fn what_was_answered_before_a_refusal_stays_as_it_is() {
    let wire = Wire::start(64, &[]).await;
    let answers = wire.exchange("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n").await;
    let at = answers[1..].find("HTTP/1.1 ").expect("two answers") + 1;
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n") && answers[..at].ends_with('}'), "{answers}");
    assert_eq!(refusal(&answers[at..]), (400, "invalid_request".into()), "{answers}");
    // The same on a connection that was used already.
    let mut socket = wire.connect().await;
    socket.send("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
    socket.until("}").await;
    sleep(Duration::from_millis(10)).await;
    socket.send("GET /healthz HTTP/1.1\r\n\r\n").await;
    assert_eq!(refusal(&socket.rest().await), (400, "invalid_request".into()));
    wire.stop().await;
}

#[actix_web::test]
async fn an_answer_of_ours_without_a_body_is_none_of_the_library_s_refusals() {
    let wire = Wire::start(64, &[]).await;
    let answer = wire.exchange("HEAD /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n") && body.is_empty(), "{answer}");
    wire.stop().await;
}
