//! The page shows what runs in sandboxes.

use serde_json::{Value, json};

use super::{
    docker::Corner,
    memory::InMemory,
    page::{Allowed, Page, row},
    program::Program,
};

/// How often the page has asked for this, as an expression.
fn asked(path: &str) -> String {
    format!("performance.getEntriesByType('resource').filter(({{ name }}) => name.includes('{path}')).length")
}

#[tokio::test]
async fn a_command_that_runs_the_load_and_the_last_output_are_shown_and_looking_at_them_is_no_use() {
    let (directory, corner) = (tempfile::tempdir().expect("a directory"), Corner::new().await);
    let program = Program::serve(directory.path(), &["--prefix", corner.prefix.as_str()]).await;
    let writes =
        "for i in $(seq 30); do printf 'line %s\\n' $i; done; printf '\\033[31mred <b>\\033[0m\\n'; exec sleep 1000";
    program.create(&json!({"id": "works", "command": ["sh", "-c", writes]})).await;
    let page = Page::live(program.url()).await;
    page.until_row("works", "running").await;
    let line = "echo begun; sleep 1000 # <i>";
    let commands = "/v1/sandboxes/works/commands";
    let begun = program.post(commands, &json!({"shell": line, "background": true})).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let keeper = format!("{}.querySelector('.keeper').textContent", row("works"));
    page.until("its row says so", &format!("{keeper} === 'held by command {line}'")).await;
    let since = format!("{}.querySelector('.used .sub').textContent", row("works"));
    page.until("it says since when", &format!("/^for \\d+ s$/.test({since})")).await;
    let before = program.get("/v1/sandboxes/works").await.body["last_activity_at"].clone();

    page.press_in_row("works", "name").await;
    let command = "document.querySelector('#details .commands tbody code')?.textContent";
    page.until("the details say so", &format!("{command} === '{line}'")).await;
    let load = "document.querySelector('#details .load')?.textContent";
    let is_load = "/^\\d+\\.\\d\\d of \\d+ cores? · [\\d.]+ (B|KiB|MiB) of [\\d.]+ .iB · \\d+ processes$/";
    page.until("the load is shown", &format!("{is_load}.test({load})")).await;
    let output = "document.querySelector('#details .output')?.textContent";
    page.until("its last lines are shown as text", &format!("{output}.endsWith('line 30\\nred <b>')")).await;
    assert_eq!(page.number(&format!("{output}.split('\\n').length")).await, 20.0);
    page.until("the load is asked for again", &format!("{} >= 2", asked("/stats"))).await;
    page.screenshot("works").await;
    let after = program.get("/v1/sandboxes/works").await.body["last_activity_at"].clone();
    assert_eq!(before, after, "a look at the details is no use");

    page.press("#details .close").await;
    page.until("it is closed", "!document.getElementById('details').open").await;
    let closed = page.value(&asked("/stats")).await;
    // Longer than the interval between two requests.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(page.value(&asked("/stats")).await, closed, "nothing is asked while the details are closed");

    let path = format!("{commands}/{}/signal", begun.body["command_id"].as_str().expect("an id"));
    let told = program.post(&path, &json!({"signal": "SIGKILL"})).await;
    assert!((200..300).contains(&told.status), "{}", told.body);
    page.until("its end is shown", &format!("{keeper} === 'a command'")).await;
    page.end(&[]).await;
}

#[tokio::test]
async fn a_load_that_cannot_be_measured_is_said_quietly() {
    let sandglass = InMemory::start(&[]).await;
    sandglass.create(&json!({"id": "quiet"})).await;
    let page = Page::live(&sandglass.url).await;
    page.until_row("quiet", "running").await;
    page.press_in_row("quiet", "name").await;
    page.until("the load is shown", "document.querySelector('#details .load')?.textContent.includes('1 process')")
        .await;
    sandglass.post("/v1/sandboxes/quiet/pause", &Value::Null).await;
    let quiet = "document.querySelector('#details .load.quiet')?.textContent.includes('paused')";
    page.until("the details say why there is none", quiet).await;
    assert_eq!(page.number("document.querySelectorAll('.notice').length").await, 0.0);
    // The browser itself logs answers that refuse.
    page.end(&[Allowed::Status(409)]).await;
}
