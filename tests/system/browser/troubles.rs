//! Troubles are visible, with their reasons, for as long as they last.

use sandglass::{
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
};
use serde_json::json;

use super::{
    memory::InMemory,
    page::{Allowed, Page, row},
};

#[tokio::test]
async fn a_store_that_is_down_is_said_with_what_it_means_until_it_is_back() {
    let sandglass = InMemory::start(&[]).await;
    let page = Page::live(&sandglass.url).await;
    page.until("the store is well", "document.getElementById('health-store').className === 'good'").await;
    sandglass.store.go_down();
    page.until("it is said", "document.getElementById('banner-store')?.textContent.includes('creates are refused')")
        .await;
    assert_eq!(page.text("document.querySelector('#health-store .word').textContent").await, "store down");
    assert_eq!(page.text("document.querySelector('#health-runtime .word').textContent").await, "Docker ok");
    sandglass.store.heal_all();
    page.until("the store is well", "document.getElementById('health-store').className === 'good'").await;
    page.until("nothing is said", "document.getElementById('banner-store') === null").await;
    page.end(&[Allowed::Status(503)]).await;
}

#[tokio::test]
async fn a_start_says_how_far_it_is_and_one_that_fails_why() {
    let sandglass = InMemory::start(&[]).await;
    let page = Page::live(&sandglass.url).await;
    sandglass.runtime.hang(Point::Ready, When::Before);
    sandglass.begin(&json!({"id": "slow"})).await;
    page.until_row("slow", "pending").await;
    let waits = format!("{}.querySelector('.keeper').textContent === 'waiting until ready'", row("slow"));
    page.until("it says what it waits for", &waits).await;
    assert_eq!(page.text("document.getElementById('sentence').textContent").await, "1 sandbox starts.");
    sandglass.runtime.heal(Point::Ready);
    page.until_row("slow", "running").await;

    sandglass.runtime.fail_next(Point::Start, When::Before, 1, RuntimeError::Failed("no such command".into()));
    sandglass.begin(&json!({"id": "broken"})).await;
    page.until_ended("broken", "it did not start").await;
    page.until_no_row("broken").await;
    page.press("#ends li[data-id=broken] .name").await;
    page.until(
        "its details say why",
        "document.querySelector('#details .facts')?.textContent.includes('no such command')",
    )
    .await;
    page.press("#details .close").await;
    page.end(&[]).await;
}

#[tokio::test]
async fn a_removal_that_fails_stays_in_sight_with_its_error_until_it_succeeds() {
    let sandglass = InMemory::start(&[]).await;
    sandglass.create(&json!({"id": "clings"})).await;
    let page = Page::live(&sandglass.url).await;
    let error = RuntimeError::Failed("device or resource busy".into());
    sandglass.runtime.fail_always(Point::Remove, When::Before, error);
    sandglass.delete("/v1/sandboxes/clings").await;
    page.until_row("clings", "terminating").await;
    let told = format!("{}.textContent.includes('device or resource busy')", row("clings"));
    page.until("it says why", &told).await;
    page.until("it says what is done about it", &format!("{}.textContent.includes('tried again')", row("clings")))
        .await;
    assert_eq!(page.text("document.querySelector('#groups [data-group=ending] b').textContent").await, "1");
    assert_eq!(page.value("document.querySelectorAll('#ends li').length").await, json!(0), "it has not ended yet");
    page.press_in_row("clings", "name").await;
    let why = "document.querySelector('#details .why')?.textContent";
    page.until("its details count the tries", &format!("/Failed\\d+ (try|tries)/.test({why})")).await;
    page.press("#details .close").await;
    sandglass.runtime.heal_all();
    page.until_ended("clings", "somebody ended it").await;
    page.until_no_row("clings").await;
    page.end(&[]).await;
}
