//! The connection breaks and is restored by the page itself.

use bollard::query_parameters::RemoveContainerOptionsBuilder;
use serde_json::{Value, json};

use super::{
    docker::Corner,
    memory::InMemory,
    page::{Allowed, Page},
    program::Program,
};

#[tokio::test]
async fn after_kill_minus_nine_the_page_recovers_without_a_reload_and_shows_what_is_true_then() {
    let (directory, corner) = (tempfile::tempdir().expect("a directory"), Corner::new().await);
    // Missing containers count as gone only after clients had time to come back.
    let soon = ["--set", "lifecycle.restart_grace=1", "--set", "docker.reconcile_interval=1"];
    let arguments = [&["--prefix", corner.prefix.as_str()], soon.as_slice()].concat();
    let program = Program::serve(directory.path(), &arguments).await;
    program.create(&json!({"id": "stays", "idle_timeout": 3600})).await;
    let lost = program.create(&json!({"id": "lost", "idle_timeout": 3600})).await;
    let (url, address) = (program.url().to_owned(), program.url().trim_start_matches("http://").to_owned());
    let page = Page::live(&url).await;
    page.until_row("stays", "running").await;
    page.until_row("lost", "running").await;

    program.kill().await;
    page.until("it says that it is not connected", "document.getElementById('banner-link')").await;
    page.until("what is shown counts as old", "document.body.classList.contains('stale')").await;
    page.screenshot("disconnected").await;
    page.until_row("stays", "running").await;
    let container = lost["container_id"].as_str().expect("a container");
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    corner.client.remove_container(container, Some(options)).await.expect("it goes behind the supervisor's back");

    let program = Program::serve_at(&address, directory.path(), &arguments).await;
    page.until_live().await;
    page.until_row("stays", "running").await;
    page.until_ended("lost", "vanished").await;
    page.until_no_row("lost").await;
    page.until("nothing is said to be old", "!document.body.classList.contains('stale')").await;
    program.create(&json!({"id": "after", "idle_timeout": 3600})).await;
    page.until_row("after", "running").await;
    page.must_not_have_reloaded().await;
    page.end(&[Allowed::Unreachable, Allowed::Status(503)]).await;
}

/// Records the URLs and messages of websockets, and lets a test close them.
const WATCHED: &str = "
    window.sockets = [];
    window.WebSocket = class extends WebSocket {
        constructor(url, protocols) {
            super(url, protocols);
            this.seen = [];
            window.sockets.push(this);
            this.addEventListener('message', ({ data }) => this.seen.push(JSON.parse(data)));
        }
    };
";

#[tokio::test]
async fn a_broken_connection_is_resumed_where_it_broke_with_exactly_what_was_missed() {
    let sandglass = InMemory::start(&[]).await;
    sandglass.create(&json!({"id": "before"})).await;
    let page = Page::blank(&sandglass.url).await;
    page.browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": WATCHED})).await;
    page.goto("/").await;
    page.until_live().await;
    page.until_row("before", "running").await;
    // Hold up the page's first request, or it would reconnect before it could miss anything.
    let hold = "const { fetch } = window; const held = new Promise((go) => { window.letGo = go; }); \
         window.fetch = (...request) => held.then(() => fetch(...request));";
    page.run(hold).await;
    page.run("window.sockets.at(-1).close()").await;
    page.until("it is not live", "document.querySelector('#health-link .word').textContent !== 'live'").await;
    sandglass.create(&json!({"id": "meanwhile"})).await;
    page.run("window.letGo()").await;
    page.until_row("meanwhile", "running").await;
    page.until("it is a new connection", "window.sockets.length > 1").await;
    let seen = page.value("window.sockets.at(-1).seen").await;
    let seen = seen.as_array().expect("messages");
    assert_eq!((&seen[0]["type"], &seen[0]["resumed"]), (&json!("hello"), &json!(true)), "{}", seen[0]);
    assert!(seen.iter().all(|message| message["type"] != "snapshot"), "nothing is sent twice: {seen:?}");
    let first = page.value("window.sockets[0].seen").await;
    let last = |messages: &[Value]| messages.iter().rev().find_map(|message| message["seq"].as_u64());
    let before = last(first.as_array().expect("messages")).expect("a position");
    let after = seen.iter().find(|message| message["type"] == "event").and_then(|event| event["seq"].as_u64());
    assert_eq!(after, Some(before + 1), "it goes on with the next event");
    page.must_not_have_reloaded().await;
    page.end(&[]).await;
}

#[tokio::test]
async fn a_page_of_which_a_part_was_not_loaded_loads_itself_again_until_it_is_whole() {
    let sandglass = InMemory::start(&[]).await;
    let page = Page::blank(&sandglass.url).await;
    page.browser.devtools("Network.enable", json!({})).await;
    for part in ["view.js", "page.css"] {
        page.browser.devtools("Network.setBlockedURLs", json!({"urls": [format!("*/page/{part}")]})).await;
        page.browser.client.goto(&sandglass.url).await.expect("the page itself opens");
        page.until("it has tried", "Number(sessionStorage.getItem('sandglass.tries')) > 1").await;
        page.browser.devtools("Network.setBlockedURLs", json!({"urls": []})).await;
        page.until("it is whole", "document.body?.dataset.loaded !== undefined").await;
        page.until_live().await;
        assert_eq!(page.value("sessionStorage.length").await, json!(0));
    }
    page.end(&[Allowed::Blocked]).await;
}
