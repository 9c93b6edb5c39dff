//! Who gets in, and what those are told who do not.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{AGENT, Inside};

async fn told(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default())
}

#[actix_web::test]
async fn half_a_place_is_refused() {
    let inside = Inside::start(&[], json!({})).await;
    let id = inside.client.get(inside.url("/health")).header("E2b-Sandbox-Id", inside.id.as_str());
    let port = inside.client.get(inside.url("/health")).header("E2b-Sandbox-Port", "49983");
    let word = inside.client.get(inside.url("/health")).header("E2b-Sandbox-Id", inside.id.as_str());
    for request in [id, port, word.header("E2b-Sandbox-Port", "http")] {
        let (status, told) = told(request).await;
        assert_eq!((status, &told["code"]), (400, &json!(400)), "{told}");
    }
    inside.end().await;
}

#[actix_web::test]
async fn a_sandbox_that_is_unknown_paused_or_gone_is_not_found() {
    let inside = Inside::start(&[], json!({})).await;
    let not_found = |id: &str| json!({ "sandboxId": id, "message": "The sandbox was not found", "code": 502 });
    for id in ["inever", "no id at all"] {
        let request = inside.client.get(inside.url("/health")).header("E2b-Sandbox-Id", id);
        assert_eq!(told(request.header("E2b-Sandbox-Port", "49983")).await, (502, not_found(id)));
    }
    let id = inside.id.as_str();
    inside.wire.supervisor.pause(&inside.id).await.expect("it is paused");
    for port in [AGENT, 8000] {
        assert_eq!(told(inside.get(port, "/health")).await, (502, not_found(id)));
    }
    inside.wire.supervisor.terminate(&inside.id, Duration::from_secs(10)).await.expect("it ends");
    assert_eq!(told(inside.get(AGENT, "/health")).await, (502, not_found(id)));
    inside.wire.stop().await;
}

#[actix_web::test]
async fn a_paused_sandbox_that_wakes_is_resumed_by_a_request() {
    let inside = Inside::start(&[("templates.base.wake", "true")], json!({})).await;
    inside.wire.supervisor.pause(&inside.id).await.expect("it is paused");
    assert_eq!(inside.shell("echo awake").await, "awake\n");
    inside.end().await;
}

#[actix_web::test]
async fn the_agent_asks_for_the_token_or_the_key_of_an_api_that_has_one() {
    let inside = Inside::start(&[("http.api_key", "key")], json!({})).await;
    let health = || inside.get(AGENT, "/health");
    let (status, refused) = told(health()).await;
    assert_eq!((status, &refused["code"]), (401, &json!(401)), "{refused}");
    for (name, value, status) in [
        ("X-Access-Token", inside.token(), 204),
        ("X-Access-Token", "other", 401),
        ("X-Access-Token", "", 401),
        ("X-API-Key", "key", 204),
        ("X-API-Key", "other", 401),
        ("Authorization", "Bearer key", 204),
        ("Authorization", "Basic dXNlcjo=", 401),
    ] {
        assert_eq!(told(health().header(name, value)).await.0, status, "{name}: {value}");
    }
    // Ports are open: here, nothing listens.
    assert_eq!(told(inside.get(1, "/")).await.0, 502);
    let wrong = told(health().header("X-API-Key", "key").header("X-Access-Token", "other")).await;
    assert_eq!(wrong.0, 401, "a token counts where there is one");
    inside.end().await;
}

#[actix_web::test]
async fn without_an_api_key_only_a_wrong_token_is_refused() {
    let inside = Inside::start(&[], json!({})).await;
    for (token, status) in [(inside.token(), 204), ("other", 401)] {
        assert_eq!(told(inside.get(AGENT, "/health").header("X-Access-Token", token)).await.0, status);
    }
    assert_eq!(told(inside.get(AGENT, "/health")).await.0, 204);
    inside.end().await;
}

#[actix_web::test]
async fn a_signed_url_opens_its_file_alone_and_until_its_time() {
    let inside = Inside::start(&[("http.api_key", "key")], json!({})).await;
    // Others sign, too.
    for _ in 0..20 {
        let request = inside.client.post(inside.url("/v1/sandboxes")).header("X-API-Key", "key");
        assert_eq!(request.send().await.expect("an answer").status(), 201);
    }
    let folder = tempfile::tempdir().expect("a directory of the test's own");
    let path = format!("{}/file", folder.path().display());
    let url = |operation: &str, over: Option<i64>| {
        let over_text = over.map(|over| format!(":{over}")).unwrap_or_default();
        let raw = format!("{path}:{operation}:root:{}{over_text}", inside.token());
        let signature = format!("v1_{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(raw)));
        let query = [("path", path.as_str()), ("username", "root"), ("signature", &signature)];
        let url = reqwest::Url::parse_with_params(&inside.url("/files"), query).expect("a URL").to_string();
        url + &over.map(|over| format!("&signature_expiration={over}")).unwrap_or_default()
    };
    let write = inside.client.post(url("write", None)).header("Content-Type", "application/octet-stream").body("text");
    assert_eq!(told(write).await.0, 200);
    let read = inside.client.get(url("read", Some(i64::from(u32::MAX)))).send().await.expect("an answer");
    assert_eq!((read.status().as_u16(), read.text().await.expect("a body").as_str()), (200, "text"));
    // A signature opens nothing else that the agent does, and gives no other user.
    let query = url("read", None);
    let query = query.split_once('?').expect("a query").1.to_owned();
    let write_query = url("write", None);
    let write_query = write_query.split_once('?').expect("a query").1.to_owned();
    for (method, path) in [
        (Method::POST, "/process.Process/Start"),
        (Method::GET, "/process.Process/Start"),
        (Method::GET, "/envs"),
        (Method::GET, "/files/archive"),
        (Method::PUT, "/files"),
    ] {
        for query in [&query, &write_query] {
            let request = inside.at(AGENT, method.clone(), &format!("{path}?{query}"));
            let (status, _) = told(request.header("Content-Type", "application/connect+json").body("{}")).await;
            assert_eq!(status, 401, "{method} {path}");
        }
    }
    let over = json!({ "code": 401, "message": "signature is already expired" });
    assert_eq!(told(inside.client.get(url("read", Some(1)))).await, (401, over));
    for (method, url) in [
        (Method::POST, url("read", None)),
        (Method::GET, url("write", None)),
        (Method::GET, url("read", None).replace("%2Ffile", "%2Fother")),
        (Method::GET, url("read", None).replace("v1_", "v1_A")),
    ] {
        let (status, told) = told(inside.client.request(method, &url)).await;
        assert_eq!((status, &told["code"]), (401, &json!(401)), "{url}: {told}");
    }
    inside.end().await;
}

/// The sandbox whose signature it is has to be looked for among all.
#[actix_web::test]
async fn urls_that_nobody_has_signed_do_not_keep_sandglass_busy() {
    let inside = Inside::among(512, &[], json!({})).await;
    for _ in 0..900 {
        let create = sandglass::sandboxes::Create::default();
        inside.wire.supervisor.create(create, true).await.expect("a sandbox");
    }
    let signed = |signature: &str| inside.url(&format!("/files?path=/x&username=root&signature={signature}"));
    let bad = futures_util::future::join_all((0..200).map(|_| told(inside.client.get(signed("v1_x"))))).await;
    let refused = bad.iter().filter(|(status, _)| *status == 429).count();
    assert!(refused > 100 && bad.iter().all(|(status, _)| matches!(status, 401 | 429)), "{refused}");
    let (_, why) = bad.iter().find(|(status, _)| *status == 429).expect("one");
    assert!(why["message"].as_str().is_some_and(|message| message.contains("E2b-Sandbox-Id")), "{why}");
    // One that is signed waits for its turn.
    let raw = format!("/x:read:root:{}", inside.token());
    let good = format!("v1_{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(raw))).replace('+', "%2B");
    assert_eq!(told(inside.client.get(signed(&good))).await.0, 404, "there is no such file");
    inside.end().await;
}

#[actix_web::test]
async fn another_site_gets_no_further_than_programs_at_ports() {
    let inside = Inside::start(&[("http.sandbox_domain", "example.com")], json!({})).await;
    let at = |port: u16| {
        let host = format!("{port}-{}.example.com", inside.id);
        let request = inside.client.post(inside.url("/files?path=/tmp/x")).header("Host", host);
        request.header("Origin", "https://evil.example").header("Sec-Fetch-Site", "cross-site")
    };
    for port in [AGENT, 49999] {
        assert_eq!(told(at(port)).await.0, 403);
    }
    assert_eq!(told(at(1)).await.0, 502, "a port asks nobody, and here nothing listens");
    // A name that was made to point here.
    let rebound = inside.get(AGENT, "/health").header("Host", "evil.example");
    assert_eq!(told(rebound).await.0, 403);
    let front = inside.get(AGENT, "/health").header("Host", "sandbox.example.com");
    assert_eq!(told(front).await.0, 204);
    inside.end().await;
}

#[actix_web::test]
async fn private_traffic_needs_its_token_and_the_agent_needs_none_of_it() {
    let network = json!({ "network": { "allowPublicTraffic": false, "maskRequestHost": "inner:${PORT}" } });
    let inside = Inside::start(&[], network).await;
    let token = inside.created["trafficAccessToken"].as_str().expect("a token");
    let port = super::Port::open().await;
    for wrong in ["", "other", inside.token()] {
        let request = inside.get(port.number, "/").header("e2b-traffic-access-token", wrong);
        let (status, told) = told(request).await;
        assert_eq!((status, &told["code"]), (403, &json!(403)), "{told}");
        assert_eq!(told["sandboxId"], inside.id.as_str());
    }
    assert_eq!(told(inside.get(port.number, "/")).await.0, 403);
    let request = inside.get(port.number, "/").header("e2b-traffic-access-token", token);
    let answered = tokio::spawn(request.send());
    let (mut visitor, head) = port.request().await;
    assert!(head.contains(&format!("Host: inner:{}\r\n", port.number)), "{head}");
    visitor.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(answered.await.expect("no panic").expect("an answer").status(), 204);
    assert_eq!(told(inside.get(AGENT, "/health")).await.0, 204);
    inside.end().await;
}

/// E2B's sandboxes have public ports by default. Those of others are known by ids that people choose.
#[actix_web::test]
async fn ports_of_a_sandbox_that_was_not_made_for_public_traffic_need_a_key() {
    let inside = Inside::start(&[("http.api_key", "key")], json!({})).await;
    let request = inside.client.post(inside.url("/v1/sandboxes")).header("X-API-Key", "key").body(r#"{"id":"native"}"#);
    assert_eq!(request.send().await.expect("an answer").status(), 201);
    let at = |port: u16| {
        let request = inside.client.get(inside.url("/health"));
        request.header("E2b-Sandbox-Id", "native").header("E2b-Sandbox-Port", port)
    };
    for port in [1, 49999] {
        assert_eq!(told(at(port)).await.0, 403, "{port}");
        assert_ne!(told(at(port).header("X-API-Key", "key")).await.0, 403, "{port}");
    }
    assert_eq!(told(inside.get(1, "/")).await.0, 502, "E2B's is public, and nothing listens");
    inside.end().await;
}
