//! What an actor does to the outside: each deed runs on the I/O runtime, and its outcome comes back as a message.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use actix::{ActorContext, AsyncContext, Context, Handler, Message};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{announce::Progress, handle::Refusal, messages::Tell, sandbox::SandboxActor};
use crate::{
    domain::{
        Details, Sandbox,
        sandbox::{Container, Deed, Event},
    },
    feed::Change,
    journal::StoreHealth,
    ports::runtime::{ContainerRef, Inspected, RuntimeError, StartProgress, Started},
};

/// How long a pause by the `on_timeout` rule is held back while the store is down, before it is looked at again.
const PAUSE_HELD_BACK: Duration = Duration::from_secs(2);

/// How a deed came out.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum Outcome {
    Start(Result<Started, RuntimeError>),
    Look(Result<Option<Box<Looked>>, RuntimeError>),
    Pause(Result<(), RuntimeError>),
    Resume(Result<(), RuntimeError>),
    Restart(Result<Option<Started>, RuntimeError>),
    Remove(Result<(), RuntimeError>),
    Buried,
}

/// What a look at a container after a crash has found, and whether it is ready; else why not.
pub(super) struct Looked {
    found: Inspected,
    ready: Result<(), String>,
}

impl SandboxActor {
    pub(super) fn do_deed(&mut self, deed: Deed, ctx: &mut Context<Self>) {
        // Who has lost the lease stops acting at once (design, 4.5). The holder drives on what is left undone.
        if self.shared.journal.lost().is_cancelled() {
            return;
        }
        match deed {
            Deed::Start => self.start_container(ctx),
            Deed::CancelStart => {
                if let Some(cancel) = self.cancel.take() {
                    cancel.cancel();
                }
            }
            Deed::Bury => self.bury(ctx),
            Deed::Resolve => self.look_at_container(ctx),
            Deed::Pause => {
                // Without the store, a crash would leave a record that runs and a container that does not; and whoever
                // took over meanwhile may know better.
                if let StoreHealth::Down { error, .. } = &*self.shared.journal.health().borrow() {
                    self.refuse_waiting_for_steady(&Refusal::StoreDown(error.clone()));
                    ctx.address().do_send(Tell(Event::PauseFailed(PAUSE_HELD_BACK)));
                    return;
                }
                let (runtime, container) = (self.shared.runtime.clone(), ContainerRef::of(&self.sandbox));
                self.run(ctx, Outcome::Pause, async move { runtime.pause(&container).await });
            }
            Deed::Resume => {
                let (runtime, container) = (self.shared.runtime.clone(), ContainerRef::of(&self.sandbox));
                self.run(ctx, Outcome::Resume, async move { runtime.resume(&container).await });
            }
            Deed::Restart => {
                let (runtime, container) = (self.shared.runtime.clone(), ContainerRef::of(&self.sandbox));
                let frozen = self.sandbox.paused_since().is_some();
                self.run(ctx, Outcome::Restart, async move { runtime.restart(&container, frozen).await });
            }
            Deed::Remove => {
                let (runtime, container) = (self.shared.runtime.clone(), ContainerRef::of(&self.sandbox));
                self.run(ctx, Outcome::Remove, async move { runtime.remove(&container).await });
            }
        }
    }

    /// Does a deed on the I/O runtime. It always reports: one that panics has failed, and is tried again like any other.
    fn run<T: 'static>(
        &self,
        ctx: &mut Context<Self>,
        outcome: fn(Result<T, RuntimeError>) -> Outcome,
        deed: impl Future<Output = Result<T, RuntimeError>> + Send + 'static,
    ) {
        let addr = ctx.address();
        let deed = AssertUnwindSafe(deed).catch_unwind();
        self.shared.io.spawn(async move {
            let bug = |_| Err(RuntimeError::Failed("a bug in Sandglass: the call to the engine panicked".into()));
            addr.do_send(outcome(deed.await.unwrap_or_else(bug)));
        });
    }

    fn start_container(&mut self, ctx: &mut Context<Self>) {
        let Some(start) = self.start.take() else {
            // Only a sandbox that was never started has nothing to start from.
            ctx.address().do_send(Outcome::Start(Err(RuntimeError::Failed("nothing to start from".into()))));
            return;
        };
        let cancel = CancellationToken::new();
        self.cancel = Some(cancel.clone());
        let (runtime, addr) = (self.shared.runtime.clone(), ctx.address());
        self.run(ctx, Outcome::Start, async move {
            let id = start.id.clone();
            let progress = move |progress: StartProgress| {
                info!(sandbox_id = %id, ?progress, "starting");
                addr.do_send(Progress(progress));
            };
            runtime.start(&start, &cancel, &progress).await
        });
    }

    fn look_at_container(&self, ctx: &mut Context<Self>) {
        let (runtime, container) = (self.shared.runtime.clone(), ContainerRef::of(&self.sandbox));
        self.run(ctx, Outcome::Look, async move {
            let Some(found) = runtime.inspect(&container).await? else { return Ok(None) };
            // The crash may have come before it was ready: it is waited for now.
            let ready = match found.state {
                Container::Running => match runtime.await_ready(&found).await {
                    Err(unreachable @ RuntimeError::Unreachable(_)) => return Err(unreachable),
                    asked => asked.map_err(|error| error.to_string()),
                },
                _ => Ok(()),
            };
            Ok(Some(Box::new(Looked { found, ready })))
        });
    }

    /// Writes the tombstone: the sandbox as it will be once this is stored.
    fn bury(&self, ctx: &mut Context<Self>) {
        let ticket = self.shared.journal.bury(self.as_tombstone(), self.cell(), self.shared.retention);
        let addr = ctx.address();
        self.shared.tasks.once("burial", async move {
            if ticket.await {
                addr.do_send(Outcome::Buried);
            }
        });
    }

    /// The sandbox as it will be once its tombstone is stored.
    fn as_tombstone(&self) -> Sandbox {
        let mut tombstone = self.sandbox.clone();
        // `Buried` is never refused.
        let _ = tombstone.apply(Event::Buried, self.shared.clock.now());
        tombstone
    }

    pub(super) fn details(&mut self) -> &mut Details {
        Arc::make_mut(&mut self.sandbox.details)
    }

    pub(super) fn retry_in(&self, failures: u32) -> Duration {
        self.shared.backoff.jittered_wait(failures)
    }

    fn started(&mut self, outcome: Result<Started, RuntimeError>) -> Event {
        self.cancel = None;
        match outcome {
            Ok(started) => {
                let wall = self.shared.clock.now().wall();
                let details = self.details();
                details.container_id = Some(started.container_id.into());
                details.ports = started.ports.into();
                details.base_url = started.base_url.map(Into::into);
                details.started_at = Some(wall);
                Event::Started
            }
            Err(error) => {
                // Quoted: the message may hold what the container printed.
                warn!(sandbox_id = %self.sandbox.id(), error = ?error.to_string(), "start failed");
                self.details().error_message = Some(error.to_string().into());
                Event::StartFailed
            }
        }
    }

    /// After a crash in mid-create: what runs and is ready is adopted, with what a look at it tells.
    fn looked(&mut self, outcome: Result<Option<Box<Looked>>, RuntimeError>) -> Event {
        match outcome {
            Ok(Some(looked)) => {
                let Looked { found: inspected, ready } = *looked;
                let wall = self.shared.clock.now().wall();
                let details = self.details();
                details.container_name = inspected.name.into();
                details.started_at = details.started_at.or(Some(wall));
                details.base_url = details.base_url.take().or(inspected.started.base_url.map(Into::into));
                details.container_id = Some(inspected.started.container_id.into());
                details.ports = inspected.started.ports.into();
                if let Container::Stopped(code) = inspected.state {
                    details.error_message =
                        Some(format!("its container had stopped with exit code {code:?} after a restart").into());
                }
                match ready {
                    Ok(()) => Event::Resolved(inspected.state),
                    Err(problem) => {
                        warn!(sandbox_id = %self.sandbox.id(), error = ?problem, "start failed after a restart");
                        self.details().error_message = Some(problem.into());
                        Event::Resolved(Container::Stopped(None))
                    }
                }
            }
            Ok(None) => {
                self.details().error_message = Some("its start was interrupted before it had a container".into());
                Event::Resolved(Container::Missing)
            }
            Err(error) => {
                self.failed_looks += 1;
                if self.failed_looks.is_power_of_two() {
                    warn!(sandbox_id = %self.sandbox.id(), %error, "cannot look at its container yet");
                }
                Event::ResolveFailed(self.retry_in(self.failed_looks))
            }
        }
    }

    fn removed(&mut self, outcome: Result<(), RuntimeError>) -> Event {
        match outcome {
            Ok(()) => {
                self.details().engine_error = None;
                Event::Removed
            }
            Err(error) => {
                let failures = self.sandbox.attempts() + 1;
                self.shared.metrics.removal_failed();
                if failures.is_power_of_two() {
                    warn!(sandbox_id = %self.sandbox.id(), %error, failures, "removal failed; it is tried again");
                }
                self.details().engine_error = Some(error.to_string().into());
                Event::RemoveFailed(self.retry_in(failures))
            }
        }
    }

    /// A pause or resume that failed is an answer to those who asked for it; nothing else waits for it.
    fn refuse_steady(&mut self, error: &RuntimeError) {
        warn!(sandbox_id = %self.sandbox.id(), %error, "pause or resume failed");
        self.refuse_waiting_for_steady(&Refusal::Runtime(error.to_string()));
    }
}

impl Handler<Outcome> for SandboxActor {
    type Result = ();

    fn handle(&mut self, outcome: Outcome, ctx: &mut Context<Self>) {
        let event = match outcome {
            Outcome::Start(outcome) => {
                let event = self.started(outcome);
                self.step(event, ctx);
                self.take_early_news(ctx);
                return;
            }
            Outcome::Look(outcome) => {
                let event = self.looked(outcome);
                self.step(event, ctx);
                self.take_early_news(ctx);
                return;
            }
            Outcome::Pause(Ok(())) => Event::Paused,
            Outcome::Resume(Ok(())) => Event::Resumed,
            Outcome::Pause(Err(error)) => {
                self.refuse_steady(&error);
                Event::PauseFailed(self.retry_in(3))
            }
            Outcome::Resume(Err(error)) => {
                self.refuse_steady(&error);
                Event::ResumeFailed
            }
            Outcome::Restart(outcome) => match self.restarted(outcome) {
                Some(event) => event,
                None => return,
            },
            Outcome::Remove(outcome) => {
                let failed = outcome.is_err();
                let event = self.removed(outcome);
                self.step(event, ctx);
                if failed {
                    self.announce(Change::RemovalFailed, self.shared.clock.now());
                }
                return;
            }
            Outcome::Buried => {
                self.leave(ctx);
                return;
            }
        };
        self.step(event, ctx);
    }
}

impl SandboxActor {
    /// What was told of a container before it was known which one is this sandbox's.
    fn take_early_news(&mut self, ctx: &mut Context<Self>) {
        if !self.sandbox.is_starting()
            && let Some((container_id, news)) = self.early_news.take().map(|news| *news)
            && container_id.as_deref() == self.sandbox.details.container_id.as_deref()
        {
            self.step(news, ctx);
        }
    }

    /// The end: leave the registry first, so that whoever waited for this finds the id free; then answer what is still in
    /// the mailbox; stop last. A message that comes even later is not answered, and its sender finds the tombstone.
    fn leave(&mut self, ctx: &mut Context<Self>) {
        let now = self.shared.clock.now();
        let tombstone = self.as_tombstone();
        self.shared.registry.bury(tombstone.clone(), now.moment.plus(self.shared.retention));
        self.shared.feed.publish(Change::Removed, &tombstone, now);
        self.step(Event::Buried, ctx);
        self.shared.metrics.status_changed(Some(self.sandbox.status()), None);
        self.counted = false;
        ctx.address().do_send(Farewell);
    }
}

/// The last message: everything that was sent before it has been answered.
#[derive(Message)]
#[rtype(result = "()")]
struct Farewell;

impl Handler<Farewell> for SandboxActor {
    type Result = ();

    fn handle(&mut self, _: Farewell, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
