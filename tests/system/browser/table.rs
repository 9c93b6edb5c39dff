//! The table: its filter, its order, and its speed with thousands of rows.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    memory::InMemory,
    page::{Page, row},
};

#[tokio::test]
async fn the_filter_shows_what_it_asks_for_and_the_order_is_the_one_chosen() {
    let sandglass = InMemory::start(&[]).await;
    for (id, idle_timeout, team) in [("b-first", 300, "search"), ("a-second", 100, "search"), ("c-third", 200, "infra")]
    {
        sandglass.create(&json!({"id": id, "idle_timeout": idle_timeout, "metadata": {"team": team}})).await;
        // Rows are ordered by their time of creation at first.
        sleep(Duration::from_millis(5)).await;
    }
    let page = Page::live(&sandglass.url).await;
    page.until("all are there", "document.querySelectorAll('#rows tr').length === 3").await;
    assert_eq!(page.ids().await, ["c-third", "a-second", "b-first"], "the newest first");

    page.press("#head .id button").await;
    assert_eq!(page.ids().await, ["a-second", "b-first", "c-third"]);
    assert_eq!(page.text("document.querySelector('#head .id').ariaSort").await, "ascending");
    page.press("#head .id button").await;
    assert_eq!(page.ids().await, ["c-third", "b-first", "a-second"]);
    assert_eq!(page.text("document.querySelector('#head .id').ariaSort").await, "descending");
    page.press("#head .left button").await;
    assert_eq!(page.ids().await, ["a-second", "c-third", "b-first"], "what ends next comes first");

    page.write("#search", "team=SEARCH").await;
    page.until("two are shown", "document.querySelectorAll('#rows tr').length === 2").await;
    assert_eq!(page.ids().await, ["a-second", "b-first"]);
    page.write("#search", " second").await;
    page.until("one is shown", "document.querySelectorAll('#rows tr').length === 1").await;
    page.write("#search", " nothing-like-it").await;
    page.until("it says that there is none", "!document.getElementById('blank').hidden").await;
    page.press("#blank button").await;
    page.until("all are there", "document.querySelectorAll('#rows tr').length === 3").await;

    sandglass.post("/v1/sandboxes/c-third/pause", &Value::Null).await;
    page.until_row("c-third", "paused").await;
    page.press("#groups [data-group=paused]").await;
    assert_eq!(page.ids().await, ["c-third"]);
    page.press("#groups [data-group=running]").await;
    assert_eq!(page.ids().await, ["a-second", "b-first"]);
    // A new sandbox appears only if it matches the filter.
    sandglass.create(&json!({"id": "d-fourth", "idle_timeout": 50})).await;
    page.until_row("d-fourth", "running").await;
    sandglass.post("/v1/sandboxes/d-fourth/pause", &Value::Null).await;
    page.until_no_row("d-fourth").await;
    page.end(&[]).await;
}

#[tokio::test]
async fn who_holds_a_sandbox_is_shown_as_long_as_it_is_held() {
    let sandglass = InMemory::start(&[]).await;
    sandglass.create(&json!({"id": "busy"})).await;
    let page = Page::live(&sandglass.url).await;
    let keeper = |words: &str| format!("{}?.querySelector('.keeper').textContent === '{words}'", row("busy"));
    page.until("nobody holds it", &keeper("its creation")).await;
    let reason = "nightly <img src=x onerror=\"window.pwned=1\">";
    sandglass.hold("busy", "ci", &json!({"ttl": 600, "reason": reason})).await;
    page.until("it is held", &keeper("held by ci")).await;
    let still = format!("{}.querySelector('.used .sub').textContent", row("busy"));
    page.until("it says for how long", &format!("/^for another (9 m \\d\\d s|10 m 00 s)$/.test({still})")).await;
    assert_eq!(page.text(&format!("{}.querySelector('.keeper').title", row("busy"))).await, format!("ci: {reason}"));

    page.press_in_row("busy", "name").await;
    let cells = "[...document.querySelectorAll('#details .holds tbody td')].map((cell) => cell.textContent)";
    page.until("the details say who and why", &format!("{cells}.length === 4")).await;
    let shown = page.value(cells).await;
    assert_eq!((&shown[0], &shown[1]), (&json!("ci"), &json!(reason)));
    let times = [&shown[2], &shown[3]].map(|cell| cell.as_str().expect("a text").to_owned());
    assert!(times[0] == "just now" || times[0].ends_with(" s ago"), "{times:?}");
    assert!(times[1].starts_with("9 m ") || times[1] == "10 m 00 s", "{times:?}");
    page.screenshot("held").await;

    sandglass.hold("busy", "agent", &json!({"ttl": 2})).await;
    page.until("two hold it", &keeper("held by agent and 1 other")).await;
    page.until("one hold runs out", &keeper("held by ci")).await;
    page.until("the details say so", &format!("{cells}.length === 4")).await;
    sandglass.hold("busy", "ci", &Value::Null).await;
    page.until("it is released", &keeper("a hold")).await;
    page.until("the details say so", "!document.querySelector('#details .holds')").await;
    page.press("#details .close").await;
    page.end(&[]).await;
}

#[tokio::test]
async fn hostile_values_are_shown_as_text_and_nothing_of_them_runs() {
    let sandglass = InMemory::start(&[]).await;
    let page = Page::live(&sandglass.url).await;
    let markup = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script><b>bold</b>";
    let metadata = json!({
        markup: markup, "__proto__": {"polluted": true}, "javascript:": "javascript:window.pwned=1", "quote": "\"'`${1}",
        "rtl": "\u{202e}evil", "long": "x".repeat(5000),
    });
    // Ids are letters, digits and some marks; these mean something to a script.
    for id in ["constructor", "toString", "hasOwnProperty", "a.b-c_d"] {
        sandglass.create(&json!({"id": id, "user_name": markup, "metadata": metadata})).await;
        page.until_row(id, "running").await;
        assert_eq!(page.text(&format!("{}.querySelector('.name').textContent", row(id))).await, id);
        let shown = page.text(&format!("{}.querySelector('.metadata').textContent", row(id))).await;
        assert!(shown.contains(&format!("{markup}={markup}")), "{shown}");
    }
    page.press_in_row("constructor", "name").await;
    page.until("the details say it, too", "document.querySelector('#details .pairs')").await;
    assert!(page.text("document.getElementById('details').textContent").await.contains(markup));
    page.press("#details [data-action=end]").await;
    page.press("#confirm [value=yes]").await;
    page.until_ended("constructor", "somebody ended it").await;
    page.press("#details .close").await;
    page.write("#search", markup).await;
    page.until("it is found by it", "document.querySelectorAll('#rows tr').length === 3").await;
    let strangers = "document.querySelectorAll('#rows :is(img, script, b), #details :is(img, script), #ends :is(img, script)').length";
    assert_eq!(page.value(strangers).await, json!(0));
    assert_eq!(page.value("[window.pwned, {}.polluted]").await, json!([null, null]));
    page.end(&[]).await;
}

/// How many rows the page may keep in its document at most.
const FEW: f64 = 60.0;

#[tokio::test]
async fn five_thousand_sandboxes_stay_usable_since_only_what_is_in_sight_is_drawn() {
    let sandglass = InMemory::start(&[]).await;
    let bodies: Vec<_> =
        (0..5000).map(|n| json!({"id": format!("s-{n:04}"), "idle_timeout": 600 + n, "metadata": {"n": n}})).collect();
    stream::iter(&bodies).for_each_concurrent(8, |body| sandglass.create(body)).await;
    let page = Page::live(&sandglass.url).await;
    page.until("all are counted", "document.querySelector('#groups [data-group=living] b').textContent === '5,000'")
        .await;
    page.press("#head .id button").await;
    let drawn = || page.number("document.querySelectorAll('#rows tr').length");
    assert!(drawn().await < FEW);
    assert_eq!(page.text("document.getElementById('table').getAttribute('aria-rowcount')").await, "5001");
    page.screenshot("five-thousand").await;

    page.run("document.getElementById('scroller').scrollTop = 1e9").await;
    page.until_row("s-4999", "running").await;
    assert!(drawn().await < FEW);
    assert_eq!(page.text(&format!("{}.getAttribute('aria-rowindex')", row("s-4999"))).await, "5001");
    let in_sight = "(() => { const [last] = [...document.querySelectorAll('#rows tr')].slice(-1); const scroller = document.getElementById('scroller'); \
         return last.getBoundingClientRect().bottom <= scroller.getBoundingClientRect().bottom + 1 })()";
    assert_eq!(page.value(in_sight).await, json!(true), "the last one can be seen whole");

    // All 5,000 sandboxes are used at once, and the visible row shows it.
    let ids: Vec<_> = bodies.iter().map(|body| body["id"].clone()).collect();
    sandglass.post("/v1/activity", &json!({"ids": ids})).await;
    page.until(
        "a batch has kept it",
        &format!("{}.querySelector('.keeper').textContent === 'a batch ping'", row("s-4999")),
    )
    .await;
    page.write("#search", "s-2500").await;
    page.until("it is found", "document.querySelectorAll('#rows tr').length === 1").await;
    assert_eq!(page.ids().await, ["s-2500"]);
    page.press_in_row("s-2500", "name").await;
    page.until("its details open", "document.querySelector('#details .because')").await;
    page.end(&[]).await;
}

#[tokio::test]
async fn the_table_is_one_stop_for_the_tab_key_and_arrows_move_within_it() {
    let sandglass = InMemory::start(&[]).await;
    for n in 0..100 {
        sandglass.create(&json!({"id": format!("k-{n:02}")})).await;
    }
    let page = Page::live(&sandglass.url).await;
    page.press("#head .id button").await;
    page.until("the first is first", "document.querySelector('#rows tr').dataset.id === 'k-00'").await;
    assert_eq!(page.value("document.querySelectorAll('#rows [tabindex=\"0\"]').length").await, json!(1));
    page.run("document.querySelector('#rows [tabindex=\"0\"]').focus()").await;
    let focused = "`${document.activeElement.closest('tr')?.dataset.id} ${document.activeElement.ariaLabel}`";
    let (down, left, right) = ("\u{e015}", "\u{e012}", "\u{e014}");
    let (end, home, enter, escape) = ("\u{e010}", "\u{e011}", "\u{e007}", "\u{e00c}");
    page.keys(down).await;
    assert_eq!(page.text(focused).await, "k-01 Details of k-01");
    page.keys(right).await;
    assert_eq!(page.text(focused).await, "k-01 Keep k-01 alive");
    page.keys(end).await;
    assert_eq!(page.text(focused).await, "k-99 Keep k-99 alive");
    page.keys(home).await;
    assert_eq!(page.text(focused).await, "k-00 Keep k-00 alive");
    page.keys(left).await;
    page.keys(enter).await;
    page.until("the details open", "document.getElementById('details').open").await;
    page.keys(escape).await;
    page.until("they are closed", "!document.getElementById('details').open").await;
    assert_eq!(page.text(focused).await, "k-00 Details of k-00", "the focus is back where it was");
    // The focused row ends, and the focus moves to the row that takes its place.
    let focused_row = "document.activeElement.closest('#rows tr')?.dataset.id";
    sandglass.delete("/v1/sandboxes/k-00").await;
    page.until_no_row("k-00").await;
    page.until("the next one has it", &format!("{focused_row} === 'k-01'")).await;
    page.end(&[]).await;
}
