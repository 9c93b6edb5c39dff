//! The program as users start it.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// The path of the built program.
pub(crate) const PATH: &str = env!("CARGO_BIN_EXE_sandglass");

/// A running `sandglass serve`; killed when it is dropped.
pub(crate) struct Program {
    pub(crate) child: Child,
    /// The time from the start of the process until `/readyz` says that requests are served.
    pub(crate) took: Duration,
    pub(crate) client: reqwest::Client,
    url: String,
}

impl Program {
    /// Starts it with an empty store in a directory, and waits until it is ready, with or without Docker.
    pub(crate) async fn start(directory: &Path, arguments: &[&str]) -> Self {
        // If another process takes the port first, this one does not become ready in time.
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = probe.local_addr().expect("its address").to_string();
        drop(probe);
        let (client, url) = (reqwest::Client::builder().no_proxy().build(), format!("http://{address}"));
        let client = client.expect("a client");
        let mut command = Command::new(PATH);
        command
            .args(["serve", "--bind", &address])
            .args(arguments)
            .current_dir(directory)
            .env("TMPDIR", directory)
            .kill_on_drop(true);
        let began = Instant::now();
        let nothing = || Stdio::null();
        let child = command.stdin(nothing()).stdout(nothing()).stderr(nothing()).spawn().expect("it can be started");
        loop {
            if let Ok(answer) = client.get(format!("{url}/readyz")).send().await
                && answer.text().await.is_ok_and(|text| text.contains("\"ready\"") || text.contains("\"degraded\""))
            {
                return Self { child, took: began.elapsed(), client, url };
            }
            assert!(began.elapsed() < Duration::from_secs(30), "it is ready in time");
            sleep(Duration::from_micros(500)).await;
        }
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Sends a request that has to succeed.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.client.post(self.url(path)).body(body.to_string());
        let answer = request.send().await.expect("it answers");
        let (status, text) = (answer.status(), answer.text().await.expect("a whole answer"));
        assert!(status.is_success(), "{path} with {body}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }
}
