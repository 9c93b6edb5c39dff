//! A whole Sandglass in this process, over adapters in memory, for tests of the page that need no containers.

use std::{net::TcpListener, sync::Arc, thread::JoinHandle, time::Duration};

use reqwest::{Method, StatusCode};
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
        self.send(Method::POST, "/v1/sandboxes", body, StatusCode::CREATED).await;
    }

    /// Creates a sandbox without waiting until it runs.
    pub(crate) async fn begin(&self, body: &Value) {
        self.send(Method::POST, "/v1/sandboxes?wait=0", body, StatusCode::ACCEPTED).await;
    }

    /// Posts another request, such as a ping or a pause; that has to succeed.
    pub(crate) async fn post(&self, path: &str, body: &Value) {
        self.send(Method::POST, path, body, StatusCode::OK).await;
    }

    /// Takes or renews a hold, or releases it if there is no body; that has to succeed.
    pub(crate) async fn hold(&self, id: &str, name: &str, body: &Value) {
        let method = if body.is_null() { Method::DELETE } else { Method::PUT };
        self.send(method, &format!("/v1/sandboxes/{id}/holds/{name}"), body, StatusCode::OK).await;
    }

    /// Ends a sandbox; that has to be accepted.
    pub(crate) async fn delete(&self, path: &str) {
        self.send(Method::DELETE, path, &Value::Null, StatusCode::ACCEPTED).await;
    }

    async fn send(&self, method: Method, path: &str, body: &Value, expected: StatusCode) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = self.http.request(method, format!("{}{path}", self.url)).body(body.clone());
        assert_eq!(request.send().await.expect("an answer").status(), expected, "{path} {body}");
    }
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
