//! The page follows the life of sandboxes, with the real binary on real Docker.

use bollard::query_parameters::KillContainerOptionsBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    docker::Corner,
    page::{Allowed, Page, SOON, row, share},
    program::Program,
};

/// The real binary on a temporary file.
async fn serve(directory: &TempDir, corner: &Corner) -> Program {
    Program::serve(directory.path(), &["--prefix", corner.prefix.as_str()]).await
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory of the test's own")
}

/// Waits until the interface's answer about a sandbox fits, and returns it.
async fn until(program: &Program, id: &str, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
    let deadline = Instant::now() + SOON;
    loop {
        let seen = program.get(&format!("/v1/sandboxes/{id}")).await.body;
        if is_so(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "{id}: not {what}: {seen}");
        sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_empty_page_says_how_to_create_the_first_sandbox_and_then_shows_it_without_a_reload() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = serve(&directory, &corner).await;
    let page = Page::live(program.url()).await;
    assert_eq!(page.text("document.getElementById('sentence').textContent").await, "No sandbox is here.");
    page.screenshot("empty").await;
    let command = page.text("document.querySelector('#blank pre').textContent").await;
    assert!(command.contains(program.url()), "{command}");
    let done = tokio::process::Command::new("sh").args(["-c", &format!("{command} --silent --fail")]).output().await;
    let done = done.expect("a shell");
    assert!(done.status.success(), "{command}: {done:?}");
    page.until_row("hello", "running").await;
    let words = page.text("document.getElementById('sentence').textContent").await;
    assert_eq!(words, "1 sandbox runs.");
    page.must_not_have_reloaded().await;
    page.end(&[]).await;
}

#[tokio::test]
async fn a_bar_drains_and_a_ping_from_elsewhere_fills_it_again() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = serve(&directory, &corner).await;
    let page = Page::live(program.url()).await;
    program.create(&json!({"id": "drains", "idle_timeout": 30})).await;
    page.until_row("drains", "running").await;
    let before = page.share("drains").await;
    assert!(before > 0.5, "it begins full: {before}");
    page.until("it has drained", &format!("{} < {}", share("drains"), before - 0.15)).await;
    let low = page.share("drains").await;
    let ping = program.post("/v1/sandboxes/drains/activity", &Value::Null).await;
    assert_eq!(ping.status, 200);
    page.until("the ping has filled it", &format!("{} > {}", share("drains"), low + 0.1)).await;
    page.until(
        "it says what has kept it",
        &format!("{}.querySelector('.keeper').textContent === 'a ping'", row("drains")),
    )
    .await;
    page.must_not_have_reloaded().await;
    page.end(&[]).await;
}

#[tokio::test]
async fn what_ends_vanishes_and_its_reason_is_in_the_log_of_ends_and_announced() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = serve(&directory, &corner).await;
    let page = Page::live(program.url()).await;
    program.create(&json!({"id": "idles", "idle_timeout": 8})).await;
    page.until_row("idles", "running").await;
    let until_told = "trap 'exit 3' TERM; while :; do sleep 0.1; done";
    let exits = program.create(&json!({"id": "exits", "command": ["sh", "-c", until_told]})).await;
    page.until_row("exits", "running").await;
    let (container, options) = (&exits["container_id"], KillContainerOptionsBuilder::default().signal("TERM").build());
    let container = container.as_str().expect("a container");
    corner.client.kill_container(container, Some(options)).await.expect("it is told");
    page.until_ended("idles", "nobody used it").await;
    page.until_ended("exits", "exited with code 3").await;
    page.until_no_row("idles").await;
    page.until_no_row("exits").await;
    page.until("it is announced", "document.getElementById('announcer').textContent.includes('ended')").await;
    page.press("#groups [data-group=ended]").await;
    page.until_row("idles", "terminated").await;
    page.until_row("exits", "failed").await;
    page.must_not_have_reloaded().await;
    page.end(&[]).await;
}

#[tokio::test]
async fn terminate_asks_first_and_does_it_only_when_it_is_confirmed() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = serve(&directory, &corner).await;
    program.create(&json!({"id": "doomed"})).await;
    let page = Page::live(program.url()).await;
    page.until_row("doomed", "running").await;
    page.press_in_row("doomed", "end").await;
    page.until("it asks", "document.getElementById('confirm').open").await;
    assert_eq!(page.text("document.getElementById('confirm-title').textContent").await, "Terminate doomed?");
    page.screenshot("confirm").await;
    page.press("#confirm [value=no]").await;
    page.until("it is closed", "!document.getElementById('confirm').open").await;
    assert_eq!(program.get("/v1/sandboxes/doomed").await.body["status"], "running");
    page.press_in_row("doomed", "end").await;
    page.press("#confirm [value=yes]").await;
    page.until_no_row("doomed").await;
    page.until_ended("doomed", "somebody ended it").await;
    let ended = until(&program, "doomed", "terminated", |seen| seen["status"] == "terminated").await;
    assert_eq!(ended["reason"], "requested");
    assert!(corner.containers().await.is_empty());
    page.end(&[]).await;
}

#[tokio::test]
async fn pause_resume_and_keep_alive_do_what_they_say() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = serve(&directory, &corner).await;
    program.create(&json!({"id": "held", "timeout": 600, "idle_timeout": 3600})).await;
    let page = Page::live(program.url()).await;
    page.until_row("held", "running").await;
    page.press_in_row("held", "pause").await;
    page.until_row("held", "paused").await;
    assert_eq!(program.get("/v1/sandboxes/held").await.body["status"], "paused");
    let label = format!("{}.querySelector('.pause').ariaLabel === 'Resume held'", row("held"));
    page.until("the same button resumes", &label).await;
    page.press_in_row("held", "pause").await;
    page.until_row("held", "running").await;
    assert_eq!(program.get("/v1/sandboxes/held").await.body["status"], "running");
    let before = program.get("/v1/sandboxes/held").await.body;
    page.press_in_row("held", "keep").await;
    let kept =
        until(&program, "held", "kept", |seen| seen["expires_at"].as_f64() > before["expires_at"].as_f64()).await;
    assert!(kept["last_activity_at"].as_f64() > before["last_activity_at"].as_f64(), "it counts as use: {kept}");
    let by = format!("{}.querySelector('.keeper').textContent === 'a keep-alive'", row("held"));
    page.until("it says what has kept it", &by).await;
    page.until(
        "it says that it is done",
        "document.getElementById('notices').textContent.includes('held is kept alive')",
    )
    .await;
    page.end(&[]).await;
}

#[tokio::test]
async fn the_details_say_why_it_is_alive_and_go_on_saying_it() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = serve(&directory, &corner).await;
    let body = json!({"id": "known", "idle_timeout": 3600, "metadata": {"team": "search", "pr": "1207"}});
    program.create(&body).await;
    let page = Page::live(program.url()).await;
    page.until_row("known", "running").await;
    page.press_in_row("known", "name").await;
    page.until(
        "it says why",
        "document.querySelector('#details .because')?.textContent.startsWith('It runs, and ends in')",
    )
    .await;
    for words in ["Idle timeout", "Active timeout", "its creation", "search", "busybox:stable"] {
        let there = format!("document.getElementById('details').textContent.includes('{words}')");
        page.until(words, &there).await;
    }
    let ping = program.post("/v1/sandboxes/known/activity", &Value::Null).await;
    assert_eq!(ping.status, 200);
    page.until("the ping shows", "document.querySelector('#details .why table').textContent.includes('a ping')").await;
    page.screenshot("details").await;
    page.press("#details [data-action=pause]").await;
    page.until("it is paused", "document.querySelector('#details .because').textContent.includes('paused')").await;
    page.press("#details [data-action=resume]").await;
    page.until("it runs", "document.querySelector('#details .because').textContent.startsWith('It runs')").await;
    page.press("#details [data-action=end]").await;
    page.press("#confirm [value=yes]").await;
    page.until(
        "it has ended",
        "document.querySelector('#details .because').textContent.includes('somebody asked for it')",
    )
    .await;
    page.press("#details .close").await;
    page.until("it is closed", "!document.getElementById('details').open").await;
    // The load may have been asked for just when the container ended.
    page.end(&[Allowed::Status(409), Allowed::Status(410), Allowed::Status(502)]).await;
}
