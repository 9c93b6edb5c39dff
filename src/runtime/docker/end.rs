//! How a container ended: by itself while the engine stayed up, or with the engine
//! ([design: engine restart](crate::design::engine::engine_restart)). And what it wrote last.
//!
//! An engine that goes away stops its containers, and one that was killed does so when it comes back: to a look, both are
//! containers that ended with exit code 143 like any that somebody has stopped. What tells them apart is the engine's
//! memory of events, which goes with its process. An engine that remembers the end of a container, and something before
//! it that only an engine in service does, was up when the container ended. If it then stays up for a while, the end was
//! not part of its own.

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::EventMessage,
    query_parameters::{EventsOptionsBuilder, LogsOptionsBuilder},
};
use futures_util::{StreamExt, stream::BoxStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Docker, error::CallError, find::Look};
use crate::ports::runtime::{ContainerRef, EndAccount};

/// How long an engine has to stay up after an end. When a host goes down, containers may be ended shortly before their
/// engine is; and a container that is restarted by hand is started within this time.
const MOMENT: Duration = Duration::from_secs(2);
/// What an engine remembers, it tells at once: after so much silence, that was all.
const ALL_TOLD: Duration = Duration::from_millis(300);
/// How long a stream whose engine has gone may take to break.
const BREAKS_WITHIN: Duration = Duration::from_millis(50);
/// How long before an end the kernel must have killed a process for the two to be one.
const OOM_WINDOW_NANOS: i64 = 2_000_000_000;

/// How much of a container's output is kept when it has ended.
const LINES: &str = "20";
const BYTES: usize = 4096;

/// What happens to containers only when an engine in service is asked for it, never while it starts.
const IN_SERVICE: [&str; 6] = ["create", "attach", "commit", "exec_create", "pause", "top"];

impl Docker {
    /// What the engine remembers of the container's end. Whatever goes wrong on the way proves nothing.
    pub(super) async fn account(&self, container: &ContainerRef) -> EndAccount {
        let Ok(Look::Ours(found)) = self.find(container).await else { return EndAccount::default() };
        let Some(id) = found.id else { return EndAccount::default() };
        let _lane = self.engine.pool.account().await;
        let until = Instant::now() + MOMENT;
        let mut messages = self.remembered();
        let mut memory = Memory::of(id);
        loop {
            let wait = if memory.may_prove() { until } else { until.min(Instant::now() + ALL_TOLD) };
            match timeout_at(wait, messages.next()).await {
                Ok(Some(Ok(message))) => memory.note(&message),
                // Its engine has gone, or cannot be asked.
                Ok(Some(Err(_)) | None) => return EndAccount::default(),
                Err(_elapsed) => break,
            }
        }
        // An engine that goes away takes no new calls first. Where something else keeps its socket open meanwhile, the
        // next engine answers, and then the stream is broken.
        if !memory.proves() || self.engine.ping().await.is_err() {
            return EndAccount::default();
        }
        match timeout(BREAKS_WITHIN, messages.next()).await {
            Ok(Some(Err(_)) | None) => EndAccount::default(),
            Ok(Some(Ok(_))) | Err(_) => {
                let last_output = self.last_output(&memory.id, LINES, BYTES).await;
                EndAccount { stayed_up: true, out_of_memory: memory.out_of_memory(), last_output }
            }
        }
    }

    /// The last lines that the container wrote, of which the end counts if they are longer than this. `None`: it wrote
    /// nothing, or its log cannot be had, as with a driver that keeps none: it only explains something else.
    pub(super) async fn last_output(&self, id: &str, lines: &str, bytes: usize) -> Option<String> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(lines).build();
        let read = self.engine.call(|docker| async move {
            let mut text = Vec::new();
            let mut parts = std::pin::pin!(docker.logs(id, Some(options)));
            while let Some(part) = parts.next().await {
                text.extend_from_slice(&part?.into_bytes());
                // A line may be as long as it likes.
                if text.len() > 4 * bytes {
                    text.drain(..text.len() - 2 * bytes);
                }
            }
            Ok(text)
        });
        end_of(&read.await.ok()?, bytes)
    }

    /// Everything that the engine remembers of containers, and what happens from now on.
    fn remembered(&self) -> BoxStream<'static, Result<EventMessage, CallError>> {
        let filters = HashMap::from([("type", vec!["container"])]);
        let options = EventsOptionsBuilder::default().filters(&filters).since("0").build();
        self.engine.clone().stream(move |client| client.events(Some(options)))
    }
}

/// What was told of one container's end, in the engine's order.
struct Memory {
    id: String,
    in_service: bool,
    /// When it ended, in the engine's nanoseconds, if something before that showed that the engine was in service.
    ended: Option<i64>,
    /// When the kernel last killed a process of it.
    oom: Option<i64>,
}

impl Memory {
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
            // Some are followed by what was executed.
            _ => self.in_service |= IN_SERVICE.contains(&action.split(':').next().unwrap_or_default()),
        }
    }

    /// Whether the end that is missing may still be told.
    fn may_prove(&self) -> bool {
        self.in_service
    }

    fn proves(&self) -> bool {
        self.ended.is_some()
    }

    /// The kernel's word may come after the end that it is about.
    fn out_of_memory(&self) -> bool {
        self.ended.zip(self.oom).is_some_and(|(ended, oom)| oom >= ended - OOM_WINDOW_NANOS)
    }
}

/// The end of an output as a text of at most so many bytes: what is no UTF-8 is replaced. `None`: nothing but space.
fn end_of(output: &[u8], bytes: usize) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    // Whole characters only, from the end: what comes last tells most.
    let from = text.char_indices().map(|(at, _)| at).find(|at| text.len() - at <= bytes)?;
    Some(text[from..].to_owned())
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn memory(events: &[(&str, &str, i64)]) -> Memory {
        let mut memory = Memory::of("it".to_owned());
        for (id, action, seconds) in events {
            memory.note(&EventMessage {
                action: Some((*action).to_owned()),
                actor: Some(EventActor { id: Some((*id).to_owned()), attributes: None }),
                time_nano: Some(seconds * 1_000_000_000),
                ..Default::default()
            });
        }
        memory
    }

    #[test]
    fn an_end_is_proved_only_by_what_an_engine_in_service_did_before_it() {
        assert!(memory(&[("it", "start", 1), ("it", "kill", 5), ("it", "die", 5)]).proves());
        assert!(memory(&[("other", "exec_create: /bin/health", 1), ("it", "die", 5)]).proves());
        // This is what an engine does that finds containers of the one before, which was killed.
        assert!(!memory(&[("it", "kill", 5), ("it", "unpause", 5), ("it", "die", 5), ("other", "start", 6)]).proves());
        assert!(!memory(&[("other", "destroy", 5), ("it", "die", 5), ("other", "create", 6)]).proves());
        assert!(!memory(&[("it", "start", 1), ("it", "die", 2), ("it", "start", 2)]).proves(), "it was started since");
        assert!(!memory(&[]).proves());
    }

    #[test]
    fn the_kernels_word_counts_when_it_is_about_this_end() {
        assert!(memory(&[("it", "start", 1), ("it", "oom", 9), ("it", "die", 9)]).out_of_memory());
        assert!(memory(&[("it", "start", 1), ("it", "die", 9), ("it", "oom", 10)]).out_of_memory(), "it came late");
        assert!(!memory(&[("it", "start", 1), ("it", "oom", 3), ("it", "die", 9)]).out_of_memory(), "it was a child's");
        assert!(!memory(&[("it", "start", 1), ("other", "oom", 9), ("it", "die", 9)]).out_of_memory());
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
