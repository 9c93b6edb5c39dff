//! E2B's protocol over a real supervisor on the memory adapters, with paused time.

mod create;
mod data;
mod errors;
mod inside;
mod life;
mod list;
mod network;
mod promises;
mod snapshots;

use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::client::{Answer, Client};

impl Answer {
    /// Expects an error with this status, in the shape that E2B's SDKs read.
    #[track_caller]
    pub(crate) fn must_refuse(&self, status: u16) -> &Self {
        assert_eq!((self.status.as_u16(), self.json["code"].as_u64()), (status, Some(status.into())), "{}", self.text);
        assert!(self.json["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", self.text);
        self
    }

    /// The message of an error in E2B's shape.
    pub(crate) fn says(&self) -> &str {
        self.json["message"].as_str().unwrap_or_default()
    }
}

/// Creates a sandbox from `base`; `more` adds fields to the request.
async fn create(client: &Client, more: Value) -> Answer {
    let mut request = json!({ "templateID": "base" });
    if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
        request.extend(more);
    }
    client.post("/v2/sandboxes", request.to_string()).await
}

/// Creates a sandbox, and returns its id.
async fn created(client: &Client, more: Value) -> String {
    let answer = create(client, more).await;
    answer.must_succeed(201).json["sandboxID"].as_str().expect("an id").to_owned()
}

/// Seconds between two times in answers.
fn seconds(from: &Value, to: &Value) -> f64 {
    let time = |value: &Value| humantime::parse_rfc3339(value.as_str().expect("a time")).expect("RFC 3339");
    time(to).duration_since(time(from)).expect("later").as_secs_f64()
}

fn request(method: &str, path: &str) -> TestRequest {
    TestRequest::with_uri(path).method(method.parse().expect("a method"))
}
