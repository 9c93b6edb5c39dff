//! Finds out whether a container ended by itself while the engine stayed up, or with the engine
//! ([design: engine restart](crate::design::engine::engine_restart)); and what it wrote last.
//!
//! An engine stops its containers when it shuts down, or, after it was killed, when it comes back. By inspection, these
//! containers look like any that somebody stopped: exit code 143. The engine's memory of events, which ends with its process,
//! distinguishes them. An engine that remembers the end of a container, and before it an event that only happens in service,
//! was up when the container ended. If it stays up for a while after, it did not end the container by shutting down.

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::EventMessage,
    query_parameters::{EventsOptionsBuilder, LogsOptionsBuilder},
};
use futures_util::{StreamExt, stream::BoxStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Docker, error::CallError, find::Search};
use crate::ports::runtime::{ContainerRef, EndAccount};

/// How long an engine has to stay up after an end. When a host shuts down, containers may end shortly before their engine.
/// A restart by hand also starts the container within this time.
const MOMENT: Duration = Duration::from_secs(2);
/// How long to wait for the next remembered event: an engine sends them all at once.
const ALL_TOLD: Duration = Duration::from_millis(300);
/// How long a stream may take to break after its engine is gone.
const BREAKS_WITHIN: Duration = Duration::from_millis(50);
/// The kernel's kill counts as the cause of an end that follows within this time.
const OOM_WINDOW_NANOS: i64 = 2_000_000_000;

/// How much of a container's output to keep when it has ended.
const LINES: &str = "20";
const BYTES: usize = 4096;

/// Events that happen only on request of a client, never while an engine starts.
const IN_SERVICE: [&str; 6] = ["create", "attach", "commit", "exec_create", "pause", "top"];

impl Docker {
    /// Asks the engine what it remembers of the container's end. A failure proves nothing and returns the default.
    pub(super) async fn account(&self, container: &ContainerRef) -> EndAccount {
        let Ok(Search::Ours(found)) = self.find(container).await else { return EndAccount::default() };
        let Some(id) = found.id else { return EndAccount::default() };
        let _lane = self.engine.pool.account().await;
        let until = Instant::now() + MOMENT;
        let mut messages = self.all_events();
        let mut evidence = Evidence::of(id);
        loop {
            let wait = if evidence.in_service { until } else { until.min(Instant::now() + ALL_TOLD) };
            match timeout_at(wait, messages.next()).await {
                Ok(Some(Ok(message))) => evidence.note(&message),
                // The engine is gone or cannot be asked.
                Ok(Some(Err(_)) | None) => return EndAccount::default(),
                Err(_elapsed) => break,
            }
        }
        // An engine that shuts down first stops taking calls. If something else keeps its socket open, the next engine
        // answers, and then the stream is broken.
        if evidence.ended.is_none() || self.engine.ping().await.is_err() {
            return EndAccount::default();
        }
        match timeout(BREAKS_WITHIN, messages.next()).await {
            Ok(Some(Err(_)) | None) => EndAccount::default(),
            Ok(Some(Ok(_))) | Err(_) => {
                let last_output = self.last_output(&evidence.id, LINES, BYTES).await;
                EndAccount { stayed_up: true, out_of_memory: evidence.out_of_memory(), last_output }
            }
        }
    }

    /// The last `lines` of the container's output, at most `bytes` from its end. `None` if there is no output, or if it cannot
    /// be read, as with a log driver that keeps none.
    pub(super) async fn last_output(&self, id: &str, lines: &str, bytes: usize) -> Option<String> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(lines).build();
        let read = self.engine.call(|docker| async move {
            let mut text = Vec::new();
            let mut parts = std::pin::pin!(docker.logs(id, Some(options)));
            while let Some(part) = parts.next().await {
                text.extend_from_slice(&part?.into_bytes());
                // Lines are of any length.
                if text.len() > 4 * bytes {
                    text.drain(..text.len() - 2 * bytes);
                }
            }
            Ok(text)
        });
        end_of(&read.await.ok()?, bytes)
    }

    /// Streams all remembered events of containers, and then the new ones.
    fn all_events(&self) -> BoxStream<'static, Result<EventMessage, CallError>> {
        let filters = HashMap::from([("type", vec!["container"])]);
        let options = EventsOptionsBuilder::default().filters(&filters).since("0").build();
        self.engine.clone().stream(move |client| client.events(Some(options)))
    }
}

/// What the engine's events, noted in their order, tell about one container's end.
struct Evidence {
    id: String,
    /// Whether an event has shown that the engine is in service.
    in_service: bool,
    /// When the container ended, in the engine's nanoseconds, if the engine was in service before.
    ended: Option<i64>,
    /// When the kernel last killed one of its processes.
    oom: Option<i64>,
}

impl Evidence {
    fn of(id: String) -> Self {
        Self { id, in_service: false, ended: None, oom: None }
    }

    fn note(&mut self, message: &EventMessage) {
        let action = message.action.as_deref().unwrap_or_default();
        let is_it = message.actor.as_ref().is_some_and(|actor| actor.id.as_ref() == Some(&self.id));
        let at = message.time_nano.unwrap_or_default();
        match action {
            "oom" if is_it => self.oom = Some(at),
            "die" if is_it => self.ended = self.in_service.then_some(at),
            "start" if is_it => {
                (self.in_service, self.ended, self.oom) = (true, None, None);
            }
            // Some actions are followed by a colon and the command.
            _ => self.in_service |= IN_SERVICE.contains(&action.split(':').next().unwrap_or_default()),
        }
    }

    /// Whether the kernel's kill caused the end. The event of the kill may come after that of the end.
    fn out_of_memory(&self) -> bool {
        self.ended.zip(self.oom).is_some_and(|(ended, oom)| oom >= ended - OOM_WINDOW_NANOS)
    }
}

/// The end of `output` as a text of at most `bytes`, with invalid UTF-8 replaced. `None` if it is blank.
fn end_of(output: &[u8], bytes: usize) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    let from = text.char_indices().map(|(at, _)| at).find(|at| text.len() - at <= bytes)?;
    Some(text[from..].to_owned())
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn evidence(events: &[(&str, &str, i64)]) -> Evidence {
        let mut evidence = Evidence::of("it".to_owned());
        for (id, action, seconds) in events {
            evidence.note(&EventMessage {
                action: Some((*action).to_owned()),
                actor: Some(EventActor { id: Some((*id).to_owned()), attributes: None }),
                time_nano: Some(seconds * 1_000_000_000),
                ..Default::default()
            });
        }
        evidence
    }

    #[test]
    fn an_end_is_proved_only_by_what_an_engine_in_service_did_before_it() {
        assert!(evidence(&[("it", "start", 1), ("it", "kill", 5), ("it", "die", 5)]).ended.is_some());
        assert!(evidence(&[("other", "exec_create: /bin/health", 1), ("it", "die", 5)]).ended.is_some());
        // An engine does this when it starts and finds containers of a predecessor that was killed.
        assert!(
            evidence(&[("it", "kill", 5), ("it", "unpause", 5), ("it", "die", 5), ("other", "start", 6)])
                .ended
                .is_none()
        );
        assert!(evidence(&[("other", "destroy", 5), ("it", "die", 5), ("other", "create", 6)]).ended.is_none());
        assert!(
            evidence(&[("it", "start", 1), ("it", "die", 2), ("it", "start", 2)]).ended.is_none(),
            "it was started since"
        );
        assert!(evidence(&[]).ended.is_none());
    }

    #[test]
    fn the_kernels_word_counts_when_it_is_about_this_end() {
        assert!(evidence(&[("it", "start", 1), ("it", "oom", 9), ("it", "die", 9)]).out_of_memory());
        assert!(evidence(&[("it", "start", 1), ("it", "die", 9), ("it", "oom", 10)]).out_of_memory(), "it came late");
        assert!(
            !evidence(&[("it", "start", 1), ("it", "oom", 3), ("it", "die", 9)]).out_of_memory(),
            "it was a child's"
        );
        assert!(!evidence(&[("it", "start", 1), ("other", "oom", 9), ("it", "die", 9)]).out_of_memory());
    }

    #[test]
    fn the_end_of_an_output_is_whole_characters_of_any_bytes() {
        assert_eq!(end_of(b" \n", 10), None);
        assert_eq!(end_of(b"", 10), None);
        assert_eq!(end_of(b"one\ntwo\n", 10).as_deref(), Some("one\ntwo"));
        assert_eq!(end_of("\u{e4}\u{f6}\u{fc}".as_bytes(), 5).as_deref(), Some("\u{f6}\u{fc}"));
        assert_eq!(end_of(b"\xff\x1b[2J", 10).as_deref(), Some("\u{fffd}\u{1b}[2J"));
    }
}
