//! Handles an actor's messages.

use std::sync::Arc;

use actix::{ActorContext, Context, Handler};
use tracing::{error, info};

#[cfg(test)]
use super::messages::Sabotage;
use super::{
    error::RequestError,
    messages::{Ask, Farewell, News, Reply, Snapshot, Tell, Until, Wait, Watched},
    sandbox::{SandboxActor, is_over},
};
use crate::domain::sandbox::Event;

impl Handler<Ask> for SandboxActor {
    type Result = ();

    fn handle(&mut self, Ask { event, reply }: Ask, ctx: &mut Context<Self>) {
        // A supervisor that is not in charge any more promises nothing.
        if self.shared.journal.lost().is_cancelled() {
            let _ = reply.send(Reply::Refused(RequestError::not_in_charge()));
            return;
        }
        // A pause or resume is answered when it is done, everything else when it is applied.
        let refused = if matches!(event, Event::Pause | Event::Resume(_)) {
            self.waiting.push(Wait { until: Until::Steady, reply });
            self.try_step(event, None, ctx).map_err(|(denied, _)| (denied, self.waiting.pop().map(|wait| wait.reply)))
        } else {
            self.try_step(event, Some(reply), ctx)
        };
        if let Err((denied, Some(reply))) = refused {
            let _ = reply.send(Reply::Refused(RequestError::denied(self.sandbox.id(), denied)));
        }
    }
}

impl Handler<Snapshot> for SandboxActor {
    type Result = ();

    fn handle(&mut self, Snapshot { reply }: Snapshot, _: &mut Context<Self>) {
        let _ = reply.send(Reply::Now(self.sandbox.clone()));
    }
}

impl Handler<Wait> for SandboxActor {
    type Result = ();

    fn handle(&mut self, wait: Wait, _: &mut Context<Self>) {
        if is_over(wait.until, &self.sandbox) {
            self.answer(std::iter::once(wait.reply));
        } else {
            self.waiting.push(wait);
        }
    }
}

impl Handler<Tell> for SandboxActor {
    type Result = ();

    fn handle(&mut self, Tell(event): Tell, ctx: &mut Context<Self>) {
        match &event {
            Event::TimerFired => return self.timer_fired(ctx),
            Event::PauseFailed { why, .. } | Event::ResumeFailed { why } => {
                self.refuse_waiting_for_steady(&RequestError::RuntimeFailed(why.to_string()));
            }
            Event::PauseHeldBack { why } => {
                self.refuse_waiting_for_steady(&RequestError::StoreUnavailable(why.to_string()));
            }
            Event::RecordLost if self.sandbox.has_record() && !self.sandbox.awaits_record() => {
                error!(sandbox_id = %self.sandbox.id(), "the store has lost its record, which is written again");
                self.shared.metrics.record_lost();
            }
            _ => {}
        }
        self.step(event, ctx);
        self.take_early_news(ctx);
    }
}

impl Handler<News> for SandboxActor {
    type Result = ();

    fn handle(&mut self, News { container_id, event, only_of_record }: News, ctx: &mut Context<Self>) {
        if container_id.as_deref() == self.sandbox.details.container_id.as_deref() {
            let found = matches!(event, Event::ContainerFound(_)).then(|| self.sandbox.details.clone());
            self.step(event, ctx);
            if found.is_some_and(|before| !Arc::ptr_eq(&before, &self.sandbox.details)) {
                info!(sandbox_id = %self.sandbox.id(), "its ports are others now");
            }
        } else if self.sandbox.is_starting() && !only_of_record {
            // Its start has not reported its container yet, and this may be about that one.
            self.early_news = Some(Box::new((container_id, event)));
        }
    }
}

impl Handler<Watched> for SandboxActor {
    type Result = ();

    fn handle(&mut self, _: Watched, ctx: &mut Context<Self>) {
        self.note_watchers(ctx);
    }
}

impl Handler<Farewell> for SandboxActor {
    type Result = ();

    fn handle(&mut self, _: Farewell, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

#[cfg(test)]
impl Handler<Sabotage> for SandboxActor {
    type Result = ();

    fn handle(&mut self, sabotage: Sabotage, ctx: &mut Context<Self>) {
        match sabotage {
            Sabotage::Panic => panic!("on purpose"),
            Sabotage::LoseTimer => {
                if let Some(alarm) = self.alarm.as_mut() {
                    actix::AsyncContext::cancel_future(ctx, alarm.handle);
                }
            }
        }
    }
}
