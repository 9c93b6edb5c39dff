//! Reads server-sent events, and reads on where it was when the connection is lost.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::super::client::{Client, Failed};

/// How often a lost connection is opened again without an event in between, and the wait before.
const TRIES: u32 = 60;
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// One event.
#[derive(Debug, PartialEq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) data: Value,
}

/// Events as they come.
pub(super) struct Events {
    response: Response,
    buffer: Vec<u8>,
    /// Where to go on.
    pub(super) last_id: Option<String>,
}

impl Events {
    pub(super) fn new(response: Response) -> Self {
        Self { response, buffer: Vec::new(), last_id: None }
    }

    /// The next event; `None` when the stream has ended or the connection is lost.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = self.parse(&String::from_utf8_lossy(&block)) {
                    return Some(event);
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// Reads the lines of an event; `None`: a comment.
    fn parse(&mut self, block: &str) -> Option<Event> {
        let (mut kind, mut data) = (None, None);
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => self.last_id = Some(id.to_owned()),
                Some(("event", name)) => kind = Some(name.to_owned()),
                Some(("data", text)) => data = serde_json::from_str(text).ok(),
                _ => {}
            }
        }
        Some(Event { kind: kind?, data: data.unwrap_or_default() })
    }

    /// Opens the stream of a lost connection again, and goes on after the last event.
    pub(super) async fn reopen(&mut self, client: &Client, request: impl Fn() -> RequestBuilder) -> Result<(), Failed> {
        let mut tries = 0;
        loop {
            tokio::time::sleep(AGAIN).await;
            let mut request = request().header("accept", "text/event-stream");
            if let Some(id) = &self.last_id {
                request = request.header("last-event-id", id);
            }
            match client.send(request).await {
                Ok(response) => {
                    self.response = response;
                    self.buffer.clear();
                    return Ok(());
                }
                Err(failed) if failed.again && tries < TRIES => tries += 1,
                Err(failed) => return Err(failed),
            }
        }
    }
}
