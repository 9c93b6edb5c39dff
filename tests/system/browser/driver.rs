//! A browser for one test: chromedriver and the Chromium that it starts, both ended with the test.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::quiet::Noise;

const HOW_TO_GET_A_BROWSER: &str = "this test needs Chromium and its driver: `make test` sets both up on Debian and Ubuntu; \
     by hand: install chromium and chromium-driver, with `chromedriver` in the PATH";

/// How long chromedriver may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A browser with an empty profile.
pub(crate) struct Browser {
    pub(crate) client: Client,
    driver: Driver,
    /// The browser's process, which outlives a driver that is killed.
    process: Option<Pid>,
    session: String,
    http: reqwest::Client,
    _profile: TempDir,
    _noise: Noise,
}

/// A chromedriver on a port of its own.
struct Driver {
    child: Child,
    url: String,
}

impl Browser {
    /// Starts a driver.
    ///
    /// # Panics
    /// Without chromedriver, with how to get it.
    pub(crate) async fn start() -> Self {
        let noise = Noise::begin();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let driver = Driver::start(&http).await;
        let profile = tempfile::tempdir().expect("a directory for the profile");
        let mut arguments: Vec<_> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--lang=en",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let Value::Object(capabilities) = json!({
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }) else {
            unreachable!("an object")
        };
        let connected = ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&driver.url).await;
        let client = connected.unwrap_or_else(|error| panic!("{HOW_TO_GET_A_BROWSER} ({error})"));
        let process = client.capabilities().and_then(|known| known.get("goog:processID")).and_then(Value::as_i64);
        let process = process.and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let session = client.session_id().await.expect("its session").expect("a session");
        Self { client, driver, process, session, http, _profile: profile, _noise: noise }
    }

    /// Sends a command of Chromium's debugging protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.command("goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    /// The console's new messages, with their levels.
    pub(crate) async fn console(&self) -> Vec<(String, String)> {
        let entries = self.command("se/log", json!({"type": "browser"})).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = entries.as_array().expect("a list of entries").iter();
        entries.map(|entry| (text(&entry["level"]), text(&entry["message"]))).collect()
    }

    /// Sends a command of the driver.
    async fn command(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/session/{}/{path}", self.driver.url, self.session);
        let answer = self.http.post(url).body(body.to_string()).send().await.expect("the driver answers");
        let answer = answer.text().await.expect("a whole answer");
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(process) = self.process {
            let _ = kill(process, Signal::SIGKILL);
        }
    }
}

impl Driver {
    async fn start(http: &reqwest::Client) -> Self {
        // chromedriver cannot report a port of its choice, so find a free one; another process may take it first.
        for _ in 0..5 {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = free.local_addr().expect("its address").port();
            drop(free);
            let mut command = Command::new("chromedriver");
            command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let child = command.spawn().unwrap_or_else(|error| panic!("{HOW_TO_GET_A_BROWSER} ({error})"));
            let mut driver = Self { child, url: format!("http://127.0.0.1:{port}") };
            if driver.is_up(http).await {
                return driver;
            }
        }
        panic!("chromedriver does not start; {HOW_TO_GET_A_BROWSER}");
    }

    async fn is_up(&mut self, http: &reqwest::Client) -> bool {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline && self.child.try_wait().expect("its state").is_none() {
            let status = http.get(format!("{}/status", self.url)).send().await;
            if status.is_ok_and(|status| status.status().is_success()) {
                return true;
            }
            sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
