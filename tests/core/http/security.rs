//! Authorization, and the headers of all answers.

use actix_web::{
    http::{Method, header},
    test::TestRequest,
};
use sandglass::http::ROUTES;

use super::client::start;

const KEY: (&str, &str) = ("http.api_key", "open-sesame");

#[actix_web::test]
async fn with_a_key_configured_everything_but_health_and_pages_needs_it() {
    let (_bench, client) = start(&[KEY]).await;
    for (path, methods) in ROUTES {
        for method in *methods {
            // The body of a stream never ends, so ask for its headers only.
            let method = if *path == "/v1/events" { "HEAD" } else { method };
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let path = path.replace("{id}", "nobody").replace("{name}", "main.js");
            let send = |value| client.with(method.clone(), &path, header::AUTHORIZATION, value);
            let (without, with) = (send("Bearer wrong").await, send("Bearer open-sesame").await);
            assert_ne!(with.status, 401, "{path}");
            if ["/healthz", "/readyz", "/", "/docs", "/page/main.js"].contains(&path.as_str()) {
                without.must_succeed(200);
                continue;
            }
            without.must_be(401, "unauthorized");
            assert_eq!(without.header("www-authenticate"), Some("Bearer"));
            assert!(!without.text.contains("open-sesame") && !without.text.contains("wrong\""), "{}", without.text);
        }
    }
    client.get("/v1/sandboxes").await.must_be(401, "unauthorized");
    client.get("/nowhere").await.must_be(401, "unauthorized");
    client.get("/page/nowhere.js").await.must_be(401, "unauthorized");
    let plain = header::HeaderName::from_static("x-api-key");
    client.with(Method::GET, "/v1/sandboxes", plain, "open-sesame").await.must_succeed(200);
}

#[actix_web::test]
async fn no_spelling_of_a_path_gets_around_the_key() {
    let (_bench, client) = start(&[KEY]).await;
    for path in [
        "/%761/sandboxes",
        "/v1%2Fsandboxes",
        "//v1/sandboxes",
        "/healthz/../v1/sandboxes",
        "/%6detrics",
        "/page/../metrics",
    ] {
        client.get(path).await.must_be(401, "unauthorized");
    }
}

#[actix_web::test]
async fn a_page_of_another_site_cannot_take_a_place_among_the_streams() {
    let (_bench, client) = start(&[]).await;
    let site = header::HeaderName::from_static("sec-fetch-site");
    client.with(Method::GET, "/v1/events", site.clone(), "cross-site").await.must_be(403, "cross_origin");
    client.with(Method::HEAD, "/v1/events", site, "same-origin").await.must_succeed(200);
}

#[actix_web::test]
async fn a_page_of_another_site_cannot_change_anything() {
    let (bench, client) = start(&[]).await;
    let site = header::HeaderName::from_static("sec-fetch-site");
    for (name, value) in [(header::ORIGIN, "http://evil.example"), (header::ORIGIN, "null"), (site, "cross-site")] {
        let request = TestRequest::post().uri("/v1/sandboxes").insert_header((header::HOST, "127.0.0.1:8080"));
        client.send(request.insert_header((name, value)).set_payload("{}")).await.must_be(403, "cross_origin");
    }
    assert!(bench.runtime.is_empty());
    let request = TestRequest::post().uri("/v1/sandboxes").insert_header((header::HOST, "127.0.0.1:8080"));
    let ours = request.insert_header((header::ORIGIN, "http://127.0.0.1:8080")).set_payload("{}");
    client.send(ours).await.must_succeed(201);
}

#[actix_web::test]
async fn a_name_that_was_made_to_point_here_is_refused() {
    let (_bench, client) = start(&[]).await;
    let rebound = TestRequest::post().uri("/v1/sandboxes").insert_header((header::HOST, "evil.example:8080"));
    let rebound = rebound.insert_header((header::ORIGIN, "http://evil.example:8080")).set_payload("{}");
    client.send(rebound).await.must_be(403, "cross_origin");
    let read = TestRequest::get().uri("/v1/sandboxes").insert_header((header::HOST, "evil.example:8080"));
    client.send(read).await.must_be(403, "cross_origin");
    let local = TestRequest::get().uri("/v1/sandboxes").insert_header((header::HOST, "localhost:8080"));
    client.send(local).await.must_succeed(200);
}

#[actix_web::test]
async fn every_answer_forbids_browsers_to_guess_run_frame_or_keep_it() {
    let (_bench, client) = start(&[KEY]).await;
    for path in ["/healthz", "/readyz", "/v1/sandboxes", "/nowhere", "/openapi.json"] {
        let answer = client.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = Some("default-src 'none'; frame-ancestors 'none'");
        assert_eq!(answer.header("content-security-policy"), policy, "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
}
