//! The page as tests use it: its texts and its buttons.

use std::{fs, path::Path, time::Duration};

use fantoccini::{Locator, elements::Element};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::driver::Browser;

/// How long a busy machine may take to show a change.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Errors that the browser logs to the console when a test causes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// The server is down, or the connection broke.
    Unreachable,
    /// An answer with this status.
    Status(u16),
    /// The test blocks a request.
    Blocked,
    /// The network of the host has changed, since somewhere a container started or ended: the browser drops what it is
    /// loading then. Any test may meet that, and the page has to come through.
    HostChanged,
}

/// A page in a browser of its own. A test ends with [`Page::end`].
pub(crate) struct Page {
    pub(crate) browser: Browser,
    url: String,
    ended: bool,
}

impl Page {
    /// Opens the dashboard.
    pub(crate) async fn open(url: &str) -> Self {
        let page = Self::blank(url).await;
        page.goto("/").await;
        page
    }

    /// The browser with an empty page.
    pub(crate) async fn blank(url: &str) -> Self {
        let page = Self { browser: Browser::start().await, url: url.to_owned(), ended: false };
        page.resize(1360, 860).await;
        page.look("light", "no-preference").await;
        page
    }

    pub(crate) async fn goto(&self, path: &str) {
        self.browser.client.goto(&format!("{}{path}", self.url)).await.expect("the page opens");
        self.until("the page is loaded", "document.body?.dataset.loaded !== undefined").await;
        // A reload would remove this mark.
        self.run("window.sameAsBefore = true").await;
    }

    /// Opens the dashboard, and waits until it has the whole snapshot.
    pub(crate) async fn live(url: &str) -> Self {
        let page = Self::open(url).await;
        page.until_live().await;
        page
    }

    pub(crate) async fn until_live(&self) {
        let live = "document.querySelector('#health-link .word').textContent === 'live' && \
             document.getElementById('sentence').textContent !== 'Connecting…'";
        self.until("the page is live", live).await;
    }

    /// Whether the page was never reloaded.
    pub(crate) async fn must_not_have_reloaded(&self) {
        assert_eq!(self.value("window.sameAsBefore").await, json!(true), "the page was loaded again");
    }

    /// The size of the page itself, in CSS pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let (mobile, scale) = if width < 500 { (true, 2) } else { (false, 1) };
        let size = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile});
        self.browser.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Sets the system's preferences: `light` or `dark`, and `reduce` or `no-preference` for motion.
    pub(crate) async fn look(&self, scheme: &str, motion: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]);
        self.browser.devtools("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// Runs a script.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.browser.client.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Evaluates an expression.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}")).await
    }

    pub(crate) async fn text(&self, expression: &str) -> String {
        self.value(expression).await.as_str().unwrap_or_else(|| panic!("{expression} is no text")).to_owned()
    }

    pub(crate) async fn number(&self, expression: &str) -> f64 {
        self.value(expression).await.as_f64().unwrap_or_else(|| panic!("{expression} is no number"))
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn until<'a>(&'a self, what: &'a str, expression: &'a str) -> impl Future<Output = ()> + 'a {
        let asked_at = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + SOON;
            while self.value(&format!("Boolean({expression})")).await != json!(true) {
                if Instant::now() > deadline {
                    let seen = self.text("document.body.innerText").await;
                    let console = self.browser.console().await;
                    panic!(
                        "{asked_at}: not within {SOON:?}: {what}\n--- the page says:\n{seen}\n--- the console: {console:#?}"
                    );
                }
                sleep(Duration::from_millis(30)).await;
            }
        }
    }

    /// Waits until a sandbox has a row with this status.
    pub(crate) async fn until_row(&self, id: &str, status: &str) {
        let what = format!("{id} is shown as {status}");
        self.until(&what, &format!("{}?.querySelector('.status .word').textContent === '{status}'", row(id))).await;
    }

    /// Waits until a sandbox's row is gone.
    pub(crate) async fn until_no_row(&self, id: &str) {
        self.until(&format!("{id} is gone"), &format!("{} === null", row(id))).await;
    }

    /// Waits until the log of ends has this text about a sandbox.
    pub(crate) async fn until_ended(&self, id: &str, reason: &str) {
        let line = format!("document.querySelector('#ends li[data-id=\"{id}\"] .reason')");
        let what = format!("{id} is in the log of ends: {reason}");
        self.until(&what, &format!("{line}?.textContent.includes('{reason}')")).await;
    }

    pub(crate) async fn share(&self, id: &str) -> f64 {
        self.number(&share(id)).await
    }

    pub(crate) async fn element(&self, selector: &str) -> Element {
        let found = self.browser.client.find(Locator::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("{selector}: {error}"))
    }

    /// Presses a button, which has to be visible and not covered.
    pub(crate) async fn press(&self, selector: &str) {
        let pressed = self.element(selector).await.click().await;
        pressed.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Presses a button of a row: `keep`, `pause`, `end`, or `name`, which opens the details.
    pub(crate) async fn press_in_row(&self, id: &str, button: &str) {
        self.press(&format!("#rows tr[data-id=\"{id}\"] .{button}")).await;
    }

    pub(crate) async fn write(&self, selector: &str, text: &str) {
        self.element(selector).await.send_keys(text).await.expect("the keys are taken");
    }

    /// Presses keys in the element with the focus.
    pub(crate) async fn keys(&self, keys: &str) {
        let focused = self.browser.client.active_element().await.expect("a focus");
        focused.send_keys(keys).await.expect("the keys are taken");
    }

    /// The ids of the visible rows, from the top down.
    pub(crate) async fn ids(&self) -> Vec<String> {
        let ids = self.value("[...document.querySelectorAll('#rows tr')].map((row) => row.dataset.id)").await;
        ids.as_array().expect("a list").iter().map(|id| id.as_str().expect("an id").to_owned()).collect()
    }

    /// Keeps a picture for people, in `screenshots` below the target directory.
    pub(crate) async fn screenshot(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").join("screenshots");
        fs::create_dir_all(&folder).expect("a place for screenshots");
        let picture = self.browser.client.screenshot().await.expect("a screenshot");
        fs::write(folder.join(format!("{name}.png")), picture).expect("it is written");
    }

    /// Ends the test: no errors were logged but those that the test caused.
    pub(crate) async fn end(mut self, allowed: &[Allowed]) {
        self.ended = true;
        let wrong: Vec<_> = self.browser.console().await;
        let wrong = wrong.into_iter().filter(|(level, message)| {
            let allowed = allowed.iter().chain([&Allowed::HostChanged]);
            ["SEVERE", "WARNING"].contains(&level.as_str()) && !allowed.clone().any(|allowed| allowed.covers(message))
        });
        let wrong: Vec<_> = wrong.collect();
        assert!(wrong.is_empty(), "the console says: {wrong:#?}");
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        assert!(self.ended || std::thread::panicking(), "a test of a page ends with a look at its console");
    }
}

impl Allowed {
    fn covers(self, message: &str) -> bool {
        match self {
            Self::Unreachable => {
                let is_from_the_network = message.contains("net::ERR_") || message.contains("WebSocket connection to");
                let refused =
                    ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_CONNECTION_CLOSED", "ERR_EMPTY_RESPONSE"];
                is_from_the_network && refused.iter().any(|error| message.contains(error))
            }
            Self::Blocked => message.contains("net::ERR_BLOCKED_BY_CLIENT"),
            Self::HostChanged => message.contains("net::ERR_NETWORK_CHANGED"),
            Self::Status(status) => {
                message.contains(&format!("Failed to load resource: the server responded with a status of {status} "))
            }
        }
    }
}

/// A sandbox's row, as an expression.
pub(crate) fn row(id: &str) -> String {
    format!("document.querySelector('#rows tr[data-id=\"{id}\"]')")
}

/// The share of its sand that a sandbox's bar shows, 0 to 1, as an expression.
pub(crate) fn share(id: &str) -> String {
    let bar = format!("{}.querySelector('.bar')", row(id));
    format!("{bar}.firstElementChild.getBoundingClientRect().width / {bar}.getBoundingClientRect().width")
}
