//! A client without a network.

use std::{rc::Rc, sync::Arc};

use actix_web::{
    body::to_bytes,
    http::{
        Method, StatusCode,
        header::{HeaderMap, HeaderName},
    },
    test::{TestRequest, call_service, init_service},
};
use futures_util::future::LocalBoxFuture;
use sandglass::supervisor::Supervisor;
use serde_json::Value;

use super::bench::Bench;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null if the body is not JSON.
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("visible ASCII"))
    }

    /// The error's code; empty on success.
    pub(crate) fn code(&self) -> Option<&str> {
        self.json["error"]["code"].as_str()
    }

    pub(crate) fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or_default()
    }

    /// The error's `field`.
    pub(crate) fn field(&self) -> Option<&str> {
        self.json["error"]["details"]["field"].as_str()
    }

    /// Expects this error with this status, in the shape of all errors.
    #[track_caller]
    pub(crate) fn must_be(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, Some(code)), "{}", self.text);
        assert!(!self.message().is_empty(), "{}", self.text);
        let error = self.json["error"].as_object().expect("an object");
        assert!(error.keys().all(|key| ["code", "message", "details"].contains(&key.as_str())), "{}", self.text);
        self
    }

    /// Expects success with this status.
    #[track_caller]
    pub(crate) fn must_succeed(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

type Call = Box<dyn Fn(TestRequest) -> LocalBoxFuture<'static, Answer>>;

/// A client with its own application.
pub(crate) struct Client {
    call: Call,
}

impl Client {
    pub(crate) async fn of(supervisor: &Arc<Supervisor>) -> Self {
        let app = Rc::new(
            init_service(sandglass::http::app(
                supervisor.sandboxes(),
                sandglass::work::Work::new(supervisor.sandboxes()),
            ))
            .await,
        );
        let call = move |request: TestRequest| -> LocalBoxFuture<'static, Answer> {
            let app = app.clone();
            Box::pin(async move {
                let response = call_service(&*app, request.to_request()).await;
                let (status, headers) = (response.status(), response.headers().clone());
                let body = to_bytes(response.into_body()).await.map_err(|_| "a body").expect("a body");
                let text = String::from_utf8(body.to_vec()).expect("UTF-8");
                let json = serde_json::from_str(&text).unwrap_or_default();
                Answer { status, headers, text, json }
            })
        };
        Self { call: Box::new(call) }
    }

    pub(crate) async fn send(&self, request: TestRequest) -> Answer {
        (self.call)(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(TestRequest::get().uri(path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(TestRequest::delete().uri(path)).await
    }

    /// Sends any body, without a content type.
    pub(crate) async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        self.send(TestRequest::post().uri(path).set_payload(body.into())).await
    }

    pub(crate) async fn with(&self, method: Method, path: &str, name: HeaderName, value: &str) -> Answer {
        self.send(TestRequest::with_uri(path).method(method).insert_header((name, value))).await
    }
}

/// Begins a supervisor and its client; dotted keys override the default settings.
pub(crate) async fn start(overrides: &[(&str, &str)]) -> (Bench, Client) {
    let bench = Bench::new(overrides).await;
    let client = Client::of(&bench.supervisor).await;
    (bench, client)
}
