//! Behind a real nginx.

use std::{path::Path, time::Duration};

use reqwest::header::{HOST, ORIGIN};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    memory::InMemory,
    nginx::{Nginx, free_port},
    page::{Page, SOON},
};

/// A host name that browsers resolve to this host, and that the application does not know.
const NAME: &str = "sand.localhost";

/// The example configuration for nginx, with other addresses.
fn recommended(port: u16, application: &str) -> String {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/nginx.conf");
    let lines = std::fs::read_to_string(example).expect("the example");
    for stands in ["listen 80;", "sand.example.com", "127.0.0.1:8080"] {
        assert!(lines.contains(stands), "{stands} is not in {lines}");
    }
    lines
        .replace("listen 80;", &format!("listen 127.0.0.1:{port};"))
        .replace("sand.example.com", NAME)
        .replace("127.0.0.1:8080", application)
}

#[tokio::test]
async fn below_a_path_and_under_a_name_of_the_proxy_s_the_page_lives_and_acts() {
    let port = free_port();
    let origin = format!("http://{NAME}:{port}");
    let sandglass = InMemory::start(&[("http.allowed_origins", &origin)]).await;
    let _nginx = Nginx::start(port, &recommended(port, sandglass.url.trim_start_matches("http://"))).await;
    let page = Page::live(&format!("{origin}/sand")).await;
    let command = page.text("document.querySelector('#blank pre').textContent").await;
    assert!(command.contains(&format!(" {origin}/sand/v1/sandboxes ")), "{command}");
    // The page gets events over the websocket.
    sandglass.create(&json!({"id": "seen", "idle_timeout": 3600})).await;
    page.until_row("seen", "running").await;
    // The page's buttons work.
    page.press_in_row("seen", "pause").await;
    page.until_row("seen", "paused").await;
    page.must_not_have_reloaded().await;
    let docs = page.text("[...document.querySelectorAll('nav a')].map((link) => link.href).join(' ')").await;
    assert_eq!(docs, format!("{origin}/sand/docs"));
    page.goto("/docs").await;
    page.until("it is drawn", "document.querySelectorAll('#calls section[id]').length > 0").await;
    page.end(&[]).await;
}

#[tokio::test]
async fn under_a_name_that_is_not_configured_nothing_is_changed() {
    let port = free_port();
    let sandglass = InMemory::start(&[]).await;
    let _nginx = Nginx::start(port, &recommended(port, sandglass.url.trim_start_matches("http://"))).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let create = client.post(format!("http://127.0.0.1:{port}/sand/v1/sandboxes")).header(HOST, NAME);
    let answer = create.header(ORIGIN, format!("http://{NAME}:{port}")).send().await.expect("an answer");
    assert_eq!(answer.status(), 403);
    let answer = answer.text().await.expect("a body");
    assert!(answer.contains("cross_origin") && answer.contains("http.allowed_origins"), "{answer}");
    assert!(sandglass.runtime.is_empty());
}

#[tokio::test]
async fn an_nginx_that_is_told_nothing_else_passes_creates_pings_and_events_on() {
    let (port, sandglass) = (free_port(), InMemory::start(&[]).await);
    let http = format!("server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {}; }} }}", sandglass.url);
    let _nginx = Nginx::start(port, &http).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let created = client.post(url("/v1/sandboxes")).body(r#"{"id": "one"}"#).send().await.expect("an answer");
    assert_eq!(created.status(), 201);
    // nginx leaves out the length of an empty body.
    let pinged = client.post(url("/v1/sandboxes/one/activity")).send().await.expect("an answer");
    assert_eq!(pinged.status(), 200);
    let pinged: Value = serde_json::from_str(&pinged.text().await.expect("a body")).expect("JSON");
    assert_eq!(pinged["sandbox_id"], "one");
    assert_eq!(client.post(url("/v1/sandboxes")).send().await.expect("an answer").status(), 201);
    let mut events = client.get(url("/v1/events")).send().await.expect("an answer");
    let mut told = String::new();
    while !told.contains("event: snapshot") {
        let chunk = timeout(SOON, events.chunk()).await.expect("it comes at once").expect("a chunk");
        told.push_str(std::str::from_utf8(&chunk.expect("more")).expect("text"));
    }
    drop(events);
    let refused = client.get(url("/nowhere")).timeout(Duration::from_secs(10)).send().await.expect("an answer");
    assert_eq!(refused.status(), 404);
}
