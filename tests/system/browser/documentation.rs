//! The specification's page.

use sandglass::http::ROUTES;

use super::{memory::InMemory, page::Page};

#[tokio::test]
async fn the_page_of_the_interface_has_every_call_with_its_answers() {
    let sandglass = InMemory::start(&[]).await;
    let page = Page::blank(&sandglass.url).await;
    page.goto("/docs").await;
    page.until("it is drawn", "document.querySelectorAll('#calls section[id]').length > 0").await;
    let shown =
        page.value("[...document.querySelectorAll('#calls section[id] h2')].map((title) => title.textContent)").await;
    let shown: Vec<_> = shown.as_array().expect("titles").iter().filter_map(|title| title.as_str()).collect();
    let calls = ROUTES.iter().flat_map(|(path, methods)| methods.iter().map(move |method| format!("{method}{path}")));
    for call in calls {
        assert!(shown.contains(&call.as_str()), "{call} is not in {shown:?}");
    }
    let fields = page.text("document.getElementById('create_sandbox').textContent").await;
    for field in ["idle_timeout", "metadata", "terminates_at"] {
        assert!(fields.contains(field), "{field} is not in {fields}");
    }
    page.screenshot("docs").await;
    page.end(&[]).await;
}
