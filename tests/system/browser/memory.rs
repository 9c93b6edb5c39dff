//! A whole Sandglass in this process, over adapters in memory, for tests of the page that need no containers.

use std::{net::TcpListener, sync::Arc, thread::JoinHandle, time::Duration};

use sandglass::{
    app::{Adapters, App},
    runtime::Memory,
    store::MemoryStore,
};
use serde_json::Value;
use tokio::sync::oneshot;

use super::bench::settings;

/// A served supervisor; it stops when it is dropped.
pub(crate) struct InMemory {
    pub(crate) url: String,
    pub(crate) store: MemoryStore,
    pub(crate) runtime: Memory,
    http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl InMemory {
    /// Starts a supervisor; dotted keys override the default settings.
    pub(crate) async fn start(overrides: &[(&str, &str)]) -> Self {
        let settings = settings(&[&[("docker.max_sandboxes", "10000")], overrides].concat());
        let (store, runtime) = (MemoryStore::new(), Memory::new());
        let adapters = Adapters { store: Arc::new(store.clone()), runtime: Arc::new(runtime.clone()) };
        let (started, starting) = oneshot::channel();
        let (stop, stopping) = oneshot::channel();
        // The actors need a system.
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
                let app = App::new(settings, adapters, listener).await.expect("it starts");
                started.send(format!("http://{}", app.address())).map_err(|_| "nobody waits").expect("the test waits");
                let _ = stopping.await;
                // Open pages keep their connections, so do not wait for them.
                let _ = tokio::time::timeout(Duration::from_secs(5), app.shutdown()).await;
            });
        });
        let url = starting.await.expect("it starts");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { url, store, runtime, http, stop: Some(stop), thread: Some(thread) }
    }

    /// Creates a sandbox; that has to succeed.
    pub(crate) async fn create(&self, body: &Value) {
        let answer = self.http.post(format!("{}/v1/sandboxes", self.url)).body(body.to_string()).send().await;
        assert_eq!(answer.expect("an answer").status(), 201, "{body}");
    }

    /// Creates a sandbox without waiting until it runs.
    pub(crate) async fn begin(&self, body: &Value) {
        let request = self.http.post(format!("{}/v1/sandboxes?wait=0", self.url)).body(body.to_string());
        assert_eq!(request.send().await.expect("an answer").status(), 202, "{body}");
    }

    /// Posts another request, such as a ping or a pause; that has to succeed.
    pub(crate) async fn post(&self, path: &str, body: &Value) {
        let answer = self.http.post(format!("{}{path}", self.url)).body(body_of(body)).send().await;
        assert_eq!(answer.expect("an answer").status(), 200, "{path}");
    }

    /// Ends a sandbox; that has to be accepted.
    pub(crate) async fn delete(&self, path: &str) {
        let answer = self.http.delete(format!("{}{path}", self.url)).send().await;
        assert_eq!(answer.expect("an answer").status(), 202, "{path}");
    }
}

fn body_of(body: &Value) -> String {
    if body.is_null() { String::new() } else { body.to_string() }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
