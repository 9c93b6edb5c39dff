//! Calls to the engine: each runs on the I/O runtime, and its outcome comes back as an event.

use std::{panic::AssertUnwindSafe, sync::Arc};

use actix::Recipient;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{messages::Tell, shared::Shared};
use crate::{
    domain::{
        Sandbox,
        sandbox::{Container, EngineCall, Event, LeftOver, RestartFailure, StartProgress},
    },
    journal::StoreHealth,
    ports::runtime::{ContainerRef, RuntimeError, Start},
};

/// Restarts are spaced as after so many failures while the engine is away, whose return is told anyway.
const AWAY: u32 = 6;
/// A pause that failed is retried as after so many failures.
const PAUSE: u32 = 3;

/// A call for `sandbox`, as it was when the machine asked for the call.
pub(super) struct Caller {
    pub(super) shared: Arc<Shared>,
    pub(super) sandbox: Sandbox,
    /// Where the outcome goes.
    pub(super) report: Recipient<Tell>,
}

impl Caller {
    /// Makes the call.
    pub(super) fn make(self, call: EngineCall) {
        self.shared.io.clone().spawn(async move {
            let event = match call {
                EngineCall::Start | EngineCall::CancelStart => return,
                EngineCall::Resolve => self.resolve().await,
                EngineCall::Pause => self.pause().await,
                EngineCall::Resume => self.resume().await,
                EngineCall::Restart => self.restart().await,
                EngineCall::Remove => self.remove().await,
            };
            self.report.do_send(Tell(event));
        });
    }

    /// Creates and starts the container, unless `cancel` interrupts that.
    pub(super) fn start(self, start: Option<Box<Start>>, cancel: CancellationToken) {
        self.shared.io.clone().spawn(async move {
            let outcome = match &start {
                Some(start) => {
                    caught(self.shared.runtime.start(start, &cancel, &|progress| self.progress(progress))).await
                }
                // Only a sandbox that was never started has nothing to start from.
                None => Err(RuntimeError::Failed("nothing to start from".into())),
            };
            let event = match outcome {
                Ok(started) => Event::Started(Box::new(started)),
                Err(error) => {
                    // Quoted: the message may hold what the container printed.
                    warn!(sandbox_id = %self.sandbox.id(), error = ?error.to_string(), "start failed");
                    Event::StartFailed { why: words(&error) }
                }
            };
            self.report.do_send(Tell(event));
        });
    }

    fn progress(&self, progress: StartProgress) {
        info!(sandbox_id = %self.sandbox.id(), ?progress, "starting");
        self.report.do_send(Tell(Event::Progress(Box::new(progress))));
    }

    async fn resolve(&self) -> Event {
        let id = self.sandbox.id();
        match caught(self.left_over()).await {
            Ok(left_over) => {
                if let Some(problem) = left_over.as_ref().and_then(|left_over| left_over.problem.as_ref()) {
                    warn!(sandbox_id = %id, error = ?problem, "start failed after a restart");
                }
                Event::Resolved(left_over.map(Box::new))
            }
            Err(error) => {
                let failures = self.sandbox.failures() + 1;
                if failures.is_power_of_two() {
                    warn!(sandbox_id = %id, %error, "cannot look at its container yet");
                }
                Event::ResolveFailed { retry_in: self.shared.backoff.jittered_wait(failures) }
            }
        }
    }

    /// What a crash in mid-create has left. Waits until it is ready, since the crash may have come before that.
    async fn left_over(&self) -> Result<Option<LeftOver>, RuntimeError> {
        let runtime = &self.shared.runtime;
        let Some(found) = runtime.inspect(&self.container()).await? else { return Ok(None) };
        let problem = match found.state {
            Container::Running => match runtime.await_ready(&found).await {
                Err(unreachable @ RuntimeError::Unreachable(_)) => return Err(unreachable),
                asked => asked.err().map(|error| error.to_string()),
            },
            _ => None,
        };
        Ok(Some(LeftOver { name: found.name, state: found.state, at: found.started, problem }))
    }

    async fn pause(&self) -> Event {
        if let StoreHealth::Down { error, .. } = &*self.shared.journal.health().borrow() {
            return Event::PauseHeldBack { why: error.as_str().into() };
        }
        match caught(self.shared.runtime.pause(&self.container())).await {
            Ok(()) => Event::Paused,
            Err(error) => {
                self.warn_of_steady(&error);
                Event::PauseFailed { why: words(&error), retry_in: self.shared.backoff.jittered_wait(PAUSE) }
            }
        }
    }

    async fn resume(&self) -> Event {
        match caught(self.shared.runtime.resume(&self.container())).await {
            Ok(()) => Event::Resumed,
            Err(error) => {
                self.warn_of_steady(&error);
                Event::ResumeFailed { why: words(&error) }
            }
        }
    }

    fn warn_of_steady(&self, error: &RuntimeError) {
        warn!(sandbox_id = %self.sandbox.id(), %error, "pause or resume failed");
    }

    async fn restart(&self) -> Event {
        let (id, frozen) = (self.sandbox.id(), self.sandbox.paused_since().is_some());
        let failures = self.sandbox.failures() + 1;
        let (failure, spaced) = match caught(self.shared.runtime.restart(&self.container(), frozen)).await {
            Ok(Some(started)) => return Event::Restarted(Box::new(started)),
            Ok(None) => (RestartFailure::Missing, AWAY),
            Err(error @ RuntimeError::Unreachable(_)) => {
                info!(sandbox_id = %id, %error, "its container is started again when the engine is back");
                (RestartFailure::Away(words(&error)), AWAY)
            }
            Err(error) => {
                // Quoted: the message may hold what the container printed.
                warn!(sandbox_id = %id, error = ?error.to_string(), failures, "its container could not be started again");
                (RestartFailure::Refused(words(&error)), failures)
            }
        };
        Event::RestartFailed { failure, retry_in: self.shared.backoff.jittered_wait(spaced) }
    }

    async fn remove(&self) -> Event {
        match caught(self.shared.runtime.remove(&self.container())).await {
            Ok(()) => Event::Removed,
            Err(error) => {
                let failures = self.sandbox.failures() + 1;
                self.shared.metrics.removal_failed();
                if failures.is_power_of_two() {
                    warn!(sandbox_id = %self.sandbox.id(), %error, failures, "removal failed; it is tried again");
                }
                Event::RemoveFailed { why: words(&error), retry_in: self.shared.backoff.jittered_wait(failures) }
            }
        }
    }

    fn container(&self) -> ContainerRef {
        ContainerRef::of(&self.sandbox)
    }
}

/// A call always has an outcome: one that panics has failed, and is tried again like any other.
async fn caught<T>(call: impl Future<Output = Result<T, RuntimeError>>) -> Result<T, RuntimeError> {
    let bug = |_| Err(RuntimeError::Failed("a bug in Sandglass: the call to the engine panicked".into()));
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(bug)
}

fn words(error: &RuntimeError) -> Box<str> {
    error.to_string().into()
}
