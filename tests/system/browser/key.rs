//! The page asks for the API key if one is configured, and keeps it for the tab only.

use serde_json::json;

use super::{
    memory::InMemory,
    page::{Allowed, Page},
};

const KEY: &str = "open-sesame/+~";

#[tokio::test]
async fn the_key_is_asked_for_until_it_is_right_and_kept_for_this_tab_only() {
    let sandglass = InMemory::start(&[("http.api_key", KEY)]).await;
    let page = Page::open(&sandglass.url).await;
    page.until("the key is asked for", "document.getElementById('key').open").await;
    page.screenshot("key").await;
    page.write("#key-value", "guessed").await;
    page.press("#key .primary").await;
    page.until("it is refused", "document.getElementById('key-error').textContent === 'That is not the key.'").await;
    assert_eq!(page.value("sessionStorage.length").await, json!(0));
    page.write("#key-value", KEY).await;
    page.press("#key .primary").await;
    page.until_live().await;
    assert_eq!(page.value("document.getElementById('key').open").await, json!(false));
    page.must_not_have_reloaded().await;

    // The key is kept there and nowhere else.
    assert_eq!(page.text("sessionStorage.getItem('sandglass.key')").await, KEY);
    assert_eq!(page.value("[localStorage.length, document.cookie]").await, json!([0, ""]));
    assert!(!page.text("document.documentElement.outerHTML + location.href").await.contains(KEY));
    page.goto("/").await;
    page.until_live().await;
    let command = page.text("document.querySelector('#blank pre').textContent").await;
    assert!(command.contains("Bearer $KEY") && !command.contains(KEY), "{command}");

    let client = &page.browser.client;
    let (first, second) = (client.window().await.expect("a tab"), client.new_window(true).await.expect("another tab"));
    client.switch_to_window(second.handle).await.expect("it is there");
    page.goto("/").await;
    page.until("another tab asks again", "document.getElementById('key').open").await;
    client.close_window().await.expect("it is closed");
    client.switch_to_window(first).await.expect("it is there");

    page.press("#forget-key").await;
    page.until("it is asked for again", "document.getElementById('key').open").await;
    assert_eq!(page.value("sessionStorage.length").await, json!(0));
    page.end(&[Allowed::Status(401)]).await;
}

#[tokio::test]
async fn without_a_configured_key_none_is_asked_for() {
    let sandglass = InMemory::start(&[]).await;
    let page = Page::live(&sandglass.url).await;
    assert_eq!(page.value("document.getElementById('key').open").await, json!(false));
    assert_eq!(page.value("document.getElementById('forget-key').hidden").await, json!(true));
    page.end(&[]).await;
}
