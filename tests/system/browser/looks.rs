//! The look of the page: pictures for people, and checks that need no eyes.

use sandglass::runtime::memory::{Point, When};
use serde_json::{Value, json};

use super::{
    bench::id,
    memory::InMemory,
    page::{Page, row, share},
};

/// A host with usual sandboxes.
async fn usual_day() -> InMemory {
    let sandglass = InMemory::start(&[]).await;
    let teams = ["search", "infra", "growth"];
    for (n, name) in ["agent", "build", "notebook", "crawler", "preview", "eval", "agent", "build"].iter().enumerate() {
        let body = json!({
            "id": format!("{name}-{n}"), "idle_timeout": ([7200, 900, 45, 120, 1800][n % 5]), "timeout": 1800,
            "on_timeout": if n == 5 { "terminate" } else { "deactivate" }, "user_name": (n % 2 == 1).then_some("mara"),
            "metadata": {"team": (teams[n % 3]), "pr": format!("{}", 1200 + n), "branch": "fix/timeouts"},
        });
        sandglass.create(&body).await;
    }
    sandglass.create(&json!({"id": "short-lived", "idle_timeout": 1})).await;
    for name in ["greedy", "crashing", "not-wanted"] {
        sandglass.create(&json!({"id": name})).await;
    }
    sandglass.runtime.exhaust_memory(&id("greedy"));
    sandglass.runtime.exit(&id("crashing"), 3);
    sandglass.delete("/v1/sandboxes/not-wanted").await;
    sandglass.post("/v1/sandboxes/preview-4/pause", &Value::Null).await;
    sandglass.post("/v1/sandboxes/build-7/activity", &Value::Null).await;
    sandglass.post("/v1/sandboxes/crawler-3/keep-alive", &json!({"timeout": 3600})).await;
    sandglass.runtime.hang(Point::Ready, When::Before);
    sandglass.begin(&json!({"id": "warming-up", "user_name": "mara"})).await;
    sandglass
}

#[tokio::test]
async fn it_follows_the_system_in_light_and_dark_and_fits_every_width() {
    let sandglass = usual_day().await;
    let page = Page::live(&sandglass.url).await;
    page.until_ended("short-lived", "nobody used it").await;
    page.until_ended("not-wanted", "somebody ended it").await;
    page.until_ended("greedy", "it ran out of memory").await;
    page.until_ended("crashing", "exited with code 3").await;
    let known = format!("{}.querySelector('.keeper').textContent === 'a keep-alive'", row("crawler-3"));
    page.until("what keeps them alive is found out", &known).await;
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = page.text(ground).await;
    page.screenshot("light").await;
    page.look("dark", "no-preference").await;
    assert_ne!(page.text(ground).await, light);
    page.screenshot("dark").await;
    page.press_in_row("crawler-3", "name").await;
    page.until("its details open", "document.querySelector('#details .because')").await;
    page.screenshot("details-dark").await;
    page.press("#details .close").await;
    page.look("light", "no-preference").await;
    for (width, height) in [(1360, 860), (1024, 768), (768, 1024), (390, 844), (320, 640)] {
        page.resize(width, height).await;
        let overflow = page.number("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert!(overflow <= 0.0, "at a width of {width} it overflows by {overflow}");
        let rows = page
            .value("[...document.querySelectorAll('#rows tr')].map((row) => row.scrollHeight <= row.clientHeight + 1)")
            .await;
        assert!(
            rows.as_array().expect("rows").iter().all(|fits| *fits == json!(true)),
            "at {width}, rows overflow: {rows}"
        );
    }
    page.screenshot("narrow").await;
    page.resize(390, 844).await;
    page.screenshot("phone").await;
    page.press_in_row("crawler-3", "name").await;
    page.until("its details open", "document.querySelector('#details .because')").await;
    page.screenshot("phone-details").await;
    page.press("#details .close").await;
    page.run("document.querySelector('aside').scrollIntoView()").await;
    page.screenshot("phone-last-hour").await;
    page.end(&[]).await;
}

#[tokio::test]
async fn nothing_moves_for_whoever_asked_for_less_motion() {
    let sandglass = InMemory::start(&[]).await;
    let page = Page::blank(&sandglass.url).await;
    page.look("light", "reduce").await;
    page.goto("/").await;
    page.until_live().await;
    sandglass.create(&json!({"id": "calm", "idle_timeout": 20})).await;
    page.until_row("calm", "running").await;
    let before = page.share("calm").await;
    page.until("it drains all the same", &format!("{} < {}", share("calm"), before - 0.1)).await;
    assert_eq!(
        page.text(&format!("getComputedStyle({}.querySelector('.fill')).transitionDuration", row("calm"))).await,
        "0s"
    );
    sandglass.post("/v1/sandboxes/calm/activity", &Value::Null).await;
    page.until("it is full again", &format!("{} > {}", share("calm"), before - 0.05)).await;
    assert_eq!(page.value("document.getAnimations().length").await, json!(0));
    page.end(&[]).await;
}

#[tokio::test]
async fn everything_that_can_be_pressed_says_what_it_does_and_every_picture_is_described_or_hidden() {
    let sandglass = usual_day().await;
    let page = Page::live(&sandglass.url).await;
    page.until_row("agent-0", "running").await;
    page.press_in_row("agent-0", "name").await;
    page.until("its details open", "document.querySelector('#details .because')").await;
    let nameless = "[...document.querySelectorAll('button, a, input, select')]\
        .filter((element) => !(element.ariaLabel || element.textContent.trim() || element.labels?.[0]?.textContent.trim()))\
        .map((element) => element.outerHTML)";
    assert_eq!(page.value(nameless).await, json!([]));
    let undescribed = "[...document.querySelectorAll('img, svg')].filter((picture) => !(picture.ariaHidden === 'true' || \
        picture.hasAttribute('alt') || (picture.getAttribute('role') === 'img' && picture.ariaLabel))).map((picture) => picture.outerHTML)";
    assert_eq!(page.value(undescribed).await, json!([]));
    // The drawing is updated only now and then.
    page.until("the chart says it too", "document.querySelector('#chart svg').ariaLabel.includes('9 sandboxes now')")
        .await;
    page.end(&[]).await;
}
