//! Programs that listen on ports inside.

use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Inside, Port};

#[actix_web::test]
async fn a_port_gets_the_request_as_it_was_sent_and_nothing_that_opens_a_sandbox() {
    let inside = Inside::start(&[("http.api_key", "key")], json!({})).await;
    let port = Port::open().await;
    let request = inside.at(port.number, Method::PUT, "/a%20b/../c?d=e%2Ff");
    let request =
        request.header("X-Access-Token", "t").header("X-API-Key", "key").header("Authorization", "Bearer key");
    let request = request.header("X-Own", "1").header("Cookie", "a=b").header("Keep-Alive", "3").body("content");
    let answered = tokio::spawn(request.send());
    let (mut visitor, head) = port.request().await;
    assert!(
        head.starts_with("PUT /a%20b/../c?d=e%2Ff HTTP/1.1\r\n") || head.starts_with("PUT /c?d=e%2Ff HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nHost: "), "in the usual spelling: {head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("x-own: 1\r\n") && head.contains("cookie: a=b\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", inside.wire.address)), "{head}");
    assert!(head.contains("content-length: 7\r\n"), "{head}");
    for secret in ["key", "token", "e2b", "keep-alive", "authorization"] {
        assert!(!head.contains(secret), "{secret} is in {head}");
    }
    assert_eq!(visitor.read(7).await, "content");
    visitor
        .answer(
            "HTTP/1.1 418 I'm a teapot\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: x-hop\r\nX-Hop: 1\r\n\
             Content-Length: 5\r\n\r\nshort",
        )
        .await;
    let answer = answered.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), 418);
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    for ours in ["x-hop", "content-security-policy", "cache-control"] {
        assert!(!answer.headers().contains_key(ours), "{:?}", answer.headers());
    }
    assert_eq!(answer.text().await.expect("a body"), "short");
    inside.end().await;
}

#[actix_web::test]
async fn a_port_is_reached_by_its_host() {
    let inside = Inside::start(&[("http.sandbox_domain", "example.com:8080")], json!({})).await;
    assert_eq!(inside.created["domain"], "example.com:8080");
    let port = Port::open().await;
    let host = format!("{}-{}.example.com:8080", port.number, inside.id);
    let answered = tokio::spawn(inside.client.get(inside.url("/x")).header("Host", &host).send());
    let (mut visitor, head) = port.request().await;
    assert!(head.to_ascii_lowercase().contains(&format!("host: {host}\r\n")), "{head}");
    visitor.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(answered.await.expect("no panic").expect("an answer").text().await.expect("a body"), "ok");
    inside.end().await;
}

#[actix_web::test]
async fn bodies_are_streamed_both_ways_at_the_same_time() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    let (parts, receiver) = mpsc::channel::<Result<&'static str, std::io::Error>>(1);
    let body = Body::wrap_stream(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|part| (part, receiver))
    }));
    let answered = tokio::spawn(inside.at(port.number, Method::POST, "/").body(body).send());
    parts.send(Ok("first")).await.expect("it is taken");
    let (mut visitor, head) = port.request().await;
    assert!(head.to_ascii_lowercase().contains("transfer-encoding: chunked\r\n"), "{head}");
    assert_eq!(visitor.read(10).await, "5\r\nfirst\r\n");
    visitor.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let mut answer = answered.await.expect("no panic").expect("an answer");
    assert_eq!(answer.chunk().await.expect("a part").as_deref(), Some(&b"one"[..]));
    parts.send(Ok("second")).await.expect("it is taken");
    assert_eq!(visitor.read(11).await, "6\r\nsecond\r\n");
    visitor.answer("3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(answer.chunk().await.expect("a part").as_deref(), Some(&b"two"[..]));
    drop(parts);
    assert_eq!(answer.chunk().await.expect("an end"), None);
    inside.end().await;
}

#[actix_web::test]
async fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    let answered = tokio::spawn(inside.get(port.number, "/").send());
    let (mut visitor, _) = port.request().await;
    visitor.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let mut answer = answered.await.expect("no panic").expect("an answer");
    assert_eq!(answer.chunk().await.expect("a part").as_deref(), Some(&b"one"[..]));
    drop(visitor);
    assert!(answer.chunk().await.is_err(), "its end is no end");
    inside.end().await;
}

#[actix_web::test]
async fn a_closed_port_is_told_from_a_sandbox_that_is_not_there() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await.number;
    let closed = inside.get(port, "/").send().await.expect("an answer");
    assert_eq!(closed.status(), 502);
    let told: Value = serde_json::from_str(&closed.text().await.expect("a body")).expect("JSON");
    let message = "The sandbox is running but port is not open";
    assert_eq!(told, json!({ "sandboxId": inside.id.as_str(), "message": message, "port": port, "code": 502 }));
    inside.end().await;
}

#[actix_web::test]
async fn what_a_port_says_that_is_no_http_is_told() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    let answered = tokio::spawn(inside.get(port.number, "/").send());
    let (mut visitor, _) = port.request().await;
    visitor.answer("SSH-2.0-OpenSSH\r\n\r\n").await;
    let answer = answered.await.expect("no panic").expect("an answer");
    // Not 502, which SDKs repeat: the program has got the request.
    assert_eq!(answer.status(), 500);
    let told: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    assert_eq!((&told["port"], &told["code"]), (&json!(port.number), &json!(500)), "{told}");
    inside.end().await;
}
