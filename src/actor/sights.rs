//! What an actor learns of its container: where it is reached, that it was restarted, how it ended.

use actix::{Context, Handler};
use tracing::{info, warn};

use super::{
    messages::{Seen, Sight},
    sandbox::SandboxActor,
};
use crate::{
    domain::{
        Fields,
        sandbox::{Effects, Event, Persist},
    },
    feed::Change,
    ports::runtime::{RuntimeError, Started},
};

/// So many restarts that the engine refuses in a row are taken for its last word. They take minutes: after a boot, what a
/// container needs may come later than the engine, such as a disk that is mounted.
const MOST_RESTARTS: u32 = 10;
/// How a restart is spaced while the engine is away, as if it had failed so often: that it is back is told anyway.
const AWAY: u32 = 6;

impl SandboxActor {
    /// How a restart came out; `None`: it does not matter any more.
    pub(super) fn restarted(&mut self, outcome: Result<Option<Started>, RuntimeError>) -> Option<Event> {
        if !self.sandbox.is_restarting() {
            return None;
        }
        let id = self.sandbox.id().clone();
        Some(match outcome {
            Ok(Some(started)) => {
                self.failed_looks = 0;
                self.details().engine_error = None;
                self.runs_at(started);
                Event::Restarted
            }
            // Right after a start the engine may still be finding its containers.
            Ok(None) if self.shared.clock.now().moment < self.sandbox.not_before() => {
                Event::RestartFailed(self.retry_in(AWAY))
            }
            Ok(None) => Event::ContainerVanished,
            Err(error @ RuntimeError::Unreachable(_)) => {
                info!(sandbox_id = %id, %error, "its container is started again when the engine is back");
                self.details().engine_error = Some(error.to_string().into());
                Event::RestartFailed(self.retry_in(AWAY))
            }
            Err(error) => {
                self.failed_looks += 1;
                let failures = self.failed_looks;
                // Quoted: the message may hold what the container printed.
                warn!(sandbox_id = %id, error = ?error.to_string(), failures, "its container could not be started again");
                if failures < MOST_RESTARTS {
                    self.details().engine_error = Some(error.to_string().into());
                    return Some(Event::RestartFailed(self.retry_in(failures)));
                }
                let problem = format!("its container had stopped, and could not be started again: {error}");
                self.details().error_message = Some(problem.into());
                Event::ContainerExited { code: None, oom_killed: false }
            }
        })
    }

    /// It runs since now, and is reached there.
    fn runs_at(&mut self, started: Started) {
        self.is_at(started);
        let wall = self.shared.clock.now().wall();
        self.details().started_at = Some(wall);
    }

    /// Takes over where it is reached. Whether that is news.
    fn is_at(&mut self, started: Started) -> bool {
        let known = &self.sandbox.details;
        let (ports, base_url) = (Fields::from(started.ports), started.base_url.map(Into::into));
        let moved = known.ports != ports;
        // The reference system tells no ports, and an address of its own choice: it holds as long as no port moves.
        let base_url = match &known.base_url {
            Some(own) if known.taken_over && (known.ports.is_empty() || !moved) => Some(own.clone()),
            _ => base_url,
        };
        let news = moved || known.base_url != base_url;
        if news {
            let details = self.details();
            (details.ports, details.base_url) = (ports, base_url);
        }
        news
    }
}

impl Handler<Seen> for SandboxActor {
    type Result = ();

    fn handle(&mut self, Seen { container_id, sight }: Seen, ctx: &mut Context<Self>) {
        let sandbox = &self.sandbox;
        let is_up = sandbox.is_alive() && !sandbox.is_starting();
        if !is_up || container_id.as_deref() != self.sandbox.details.container_id.as_deref() {
            return;
        }
        match sight {
            Sight::Restarted(started) => {
                if !sandbox.is_restarting() {
                    self.runs_at(started);
                }
                self.step(Event::ContainerRestarted, ctx);
            }
            // What a restart finds is told when it is done.
            Sight::At(_) if sandbox.is_restarting() => {}
            Sight::At(started) => {
                if self.is_at(started) {
                    let now = self.shared.clock.now();
                    info!(sandbox_id = %self.sandbox.id(), "its ports are others now");
                    self.announce(Change::Changed, now);
                    self.perform(Effects { persist: Persist::Through, ..Effects::default() }, None, now, ctx);
                }
            }
            Sight::Ended { code, oom_killed, last_output } => {
                if last_output.is_some() {
                    self.details().last_output = last_output.map(Into::into);
                }
                self.step(Event::ContainerExited { code, oom_killed }, ctx);
            }
        }
    }
}
