//! A client of the status stream that keeps its state, over server-sent events and without a network.

use std::{cell::RefCell, collections::BTreeMap, pin::pin, rc::Rc, sync::Arc, time::Duration};

use actix_web::{
    body::MessageBody,
    rt::task::JoinHandle,
    test::{TestRequest, call_service, init_service},
};
use sandglass::supervisor::Supervisor;
use serde_json::Value;

/// The state of a client.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) sandboxes: BTreeMap<String, Value>,
    /// Every message, in order.
    pub(crate) messages: Vec<Value>,
    /// The id of the last complete message.
    pub(crate) last_id: Option<String>,
    /// The last event, in its epoch.
    at: Option<(String, u64)>,
    epoch: String,
    query: String,
}

/// A client that reads until it is dropped.
pub(crate) struct Watcher {
    pub(crate) known: Rc<RefCell<Known>>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl Watcher {
    pub(crate) fn start(supervisor: &Arc<Supervisor>, query: &str) -> Self {
        let known = Known { query: query.to_owned(), ..Known::default() };
        let mut watcher = Self { known: Rc::new(RefCell::new(known)), task: None };
        watcher.reconnect(supervisor);
        watcher
    }

    /// Disconnects, and keeps its state.
    pub(crate) fn disconnect(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.task.is_none()
    }

    /// Reconnects with its state.
    pub(crate) fn reconnect(&mut self, supervisor: &Arc<Supervisor>) {
        self.disconnect();
        let (supervisor, kept) = (supervisor.clone(), self.known.clone());
        let mut request = TestRequest::get().uri(&format!("/v1/events?{}", kept.borrow().query));
        if let Some(last) = &kept.borrow().last_id {
            request = request.insert_header(("last-event-id", last.as_str()));
        }
        self.task = Some(actix_web::rt::spawn(async move {
            let app = init_service(sandglass::http::app(
                supervisor.sandboxes(),
                sandglass::work::Work::new(supervisor.sandboxes()),
            ))
            .await;
            let response = call_service(&app, request.to_request()).await;
            assert_eq!(response.status(), 200, "{:?}", response.response().head());
            let mut body = pin!(response.into_body());
            let mut text = String::new();
            while let Some(chunk) = std::future::poll_fn(|context| body.as_mut().poll_next(context)).await {
                let chunk = chunk.map_err(|_| "a chunk").expect("a chunk");
                text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
                while let Some((block, rest)) = text.split_once("\n\n") {
                    kept.borrow_mut().take(block);
                    text = rest.to_owned();
                }
            }
        }));
    }

    /// Waits in virtual time until `condition` holds.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Known) -> bool) {
        for _ in 0..500_000 {
            if condition(&self.known.borrow()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}; messages: {:#?}", self.known.borrow().messages);
    }

    pub(crate) async fn until_told(&self, change: &str, id: &str) -> Value {
        self.until(&format!("{change} of {id}"), |known| known.last(change, id).is_some()).await;
        self.known.borrow().last(change, id).expect("it is there").clone()
    }
}

impl Known {
    /// The last event of this kind about a sandbox.
    pub(crate) fn last(&self, change: &str, id: &str) -> Option<&Value> {
        let is_it = |message: &&Value| message["change"] == change && message["sandbox"]["sandbox_id"] == id;
        self.messages.iter().rev().find(is_it)
    }

    /// The number of events of this kind about a sandbox.
    pub(crate) fn count(&self, change: &str, id: &str) -> usize {
        let is_it = |message: &&Value| message["change"] == change && message["sandbox"]["sandbox_id"] == id;
        self.messages.iter().filter(is_it).count()
    }

    fn take(&mut self, block: &str) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let Some(data) = field("data") else { return };
        let message: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(message["type"].as_str(), field("event"), "the name of the event is its type");
        self.apply(&message);
        if let Some(id) = field("id") {
            self.last_id = Some(id.to_owned());
        }
        self.messages.push(message);
    }

    fn apply(&mut self, message: &Value) {
        let seq = message["seq"].as_u64();
        match message["type"].as_str().expect("a type") {
            "hello" => {
                self.epoch = message["epoch"].as_str().expect("an epoch").to_owned();
                if message["resumed"] == true {
                    let at = self.at.as_ref().expect("it was here before");
                    assert_eq!((&self.epoch, Some(at.1)), (&at.0, seq), "it goes on exactly where it was");
                }
            }
            "snapshot" => {
                if message["first"] == true {
                    self.sandboxes.clear();
                }
                for sandbox in message["sandboxes"].as_array().expect("a list") {
                    self.put(sandbox);
                }
                if message["last"] == true {
                    self.at = Some((self.epoch.clone(), seq.expect("a number")));
                }
            }
            "event" => {
                let (epoch, last) = self.at.as_mut().expect("a snapshot came first");
                assert_eq!(*epoch, self.epoch);
                let seq = seq.expect("a number");
                assert!(seq > *last && (self.query != "status=all" || seq == *last + 1), "{seq} after {last}");
                *last = seq;
                let sandbox = &message["sandbox"];
                let over = match message["change"].as_str() {
                    Some("forgotten") => true,
                    Some("removed") => !self.query.contains("status="),
                    _ => false,
                };
                if over || !self.wants(&sandbox["status"]) {
                    self.sandboxes.remove(sandbox["sandbox_id"].as_str().expect("an id"));
                } else {
                    self.put(sandbox);
                }
            }
            "position" => self.at = Some((self.epoch.clone(), seq.expect("a number"))),
            "lagged" => assert!(message["missed"].as_u64().expect("a number") > 0),
            other => panic!("an unexpected {other}"),
        }
    }

    /// A sandbox that leaves the filter's statuses is reported once more.
    fn wants(&self, status: &Value) -> bool {
        let statuses = self.query.split('&').find_map(|part| part.strip_prefix("status="));
        statuses.is_none_or(|all| all == "all" || all.split(',').any(|word| status == word))
    }

    fn put(&mut self, sandbox: &Value) {
        let id = sandbox["sandbox_id"].as_str().expect("an id").to_owned();
        self.sandboxes.insert(id, lasting(sandbox));
    }
}

/// Removes the fields that change as time passes.
pub(crate) fn lasting(sandbox: &Value) -> Value {
    let mut sandbox = sandbox.clone();
    let fields = sandbox.as_object_mut().expect("an object");
    for passing in ["idle_remaining", "time_remaining", "uptime", "active"] {
        fields.remove(passing);
    }
    sandbox
}
