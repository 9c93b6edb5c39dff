//! The actor.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, SpawnHandle};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::{
    announce::Announced,
    handle::{Refusal, Reply, Until},
    messages::{Ask, Asker, Look, News, Rewrite, Tell, Wait},
    shared::Shared,
};
use crate::{
    domain::{
        Denied, Moment, Now, Sandbox,
        sandbox::{Effects, End, Event, Persist},
    },
    feed::Change,
    journal::{ActivityCell, Ticket, WriteOutcome},
    ports::runtime::Start,
};

/// The armed timer.
struct Alarm {
    at: Moment,
    handle: SpawnHandle,
}

/// The actor of one sandbox. Small: hundreds of thousands of them live in one process.
pub(super) struct SandboxActor {
    pub(super) shared: Arc<Shared>,
    pub(super) sandbox: Sandbox,
    /// What the container is to be made from; gone once that is under way.
    pub(super) start: Option<Box<Start>>,
    /// Breaks off the start that is under way.
    pub(super) cancel: Option<CancellationToken>,
    /// How many looks at the container, or restarts of it, have failed in a row.
    pub(super) failed_looks: u32,
    pub(super) waiting: Vec<Wait>,
    /// What was last told of a container while the start had not reported which one it is.
    pub(super) early_news: Option<Box<(Option<String>, Event)>>,
    /// Whether it is among the sandboxes that the metrics show.
    pub(super) counted: bool,
    /// What was told to those who watch, if somebody does.
    pub(super) announced: Option<Box<Announced>>,
    /// What to do first; gone once it is done.
    first: Option<Box<Effects>>,
    cell: ActivityCell,
    /// The journal's generation in which this sandbox is queued for a flush.
    queued_in: Option<u64>,
    alarm: Option<Alarm>,
}

impl Actor for SandboxActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let now = self.shared.clock.now();
        let first = self.first.take().map(|first| *first).unwrap_or_default();
        self.shared.metrics.status_changed(None, Some(self.sandbox.status()));
        self.counted = true;
        self.announce(Change::Appeared, now);
        self.perform(first, None, now, ctx);
        self.arm(now, ctx);
    }
}

impl Drop for SandboxActor {
    /// However it ends, by leaving, by a panic, or with its thread: it is not counted any more. Nothing else happens here.
    fn drop(&mut self) {
        if self.counted {
            self.shared.metrics.status_changed(Some(self.sandbox.status()), None);
        }
    }
}

impl SandboxActor {
    pub(super) fn new(shared: Arc<Shared>, sandbox: Sandbox, first: Effects, start: Option<Start>) -> Self {
        // What came from the store is in the store; of a new sandbox it has nothing yet.
        let stored = if start.is_some() { Moment::DISTANT_PAST } else { sandbox.last_activity() };
        Self {
            cell: ActivityCell::new(sandbox.last_activity(), stored),
            shared,
            sandbox,
            start: start.map(Box::new),
            cancel: None,
            failed_looks: 0,
            waiting: Vec::new(),
            early_news: None,
            counted: false,
            announced: None,
            first: Some(Box::new(first)),
            queued_in: None,
            alarm: None,
        }
    }

    /// One step of the state machine with all that follows from it. Events that nobody asked for are never refused.
    pub(super) fn step(&mut self, event: Event, ctx: &mut Context<Self>) {
        if event == Event::TimerFired && self.misses_heartbeats_of_an_engine_that_was_away() {
            self.step(Event::HeartbeatExcused, ctx);
        }
        if let Err((denied, _)) = self.try_step(event, None, ctx) {
            debug!(sandbox_id = %self.sandbox.id(), %denied, "an event came too late");
        }
    }

    /// A container whose engine is away may not live, and is told of when the engine is back.
    fn misses_heartbeats_of_an_engine_that_was_away(&self) -> bool {
        let (sandbox, now) = (&self.sandbox, self.shared.clock.now().moment);
        sandbox.heartbeat_deadline().is_some_and(|due| due <= now)
            && self.shared.runtime_away.since(sandbox.last_heartbeat())
    }

    /// Takes a step and answers `reply` when the step's promise holds, or gives it back with the lifecycle's refusal.
    fn try_step(
        &mut self,
        event: Event,
        reply: Option<Asker>,
        ctx: &mut Context<Self>,
    ) -> Result<(), (Denied, Option<Asker>)> {
        let now = self.shared.clock.now();
        let (before, ahead) = (self.sandbox.status(), self.watched_end());
        let effects = match self.sandbox.apply(event, now) {
            Ok(effects) => effects,
            Err(denied) => return Err((denied, reply)),
        };
        let status = self.sandbox.status();
        if before != status {
            self.shared.metrics.status_changed(Some(before), Some(status));
            info!(sandbox_id = %self.sandbox.id(), from = %before, to = %status, "status changed");
            // That it is gone was told when its tombstone stood.
            if !self.sandbox.is_gone() {
                self.announce(Change::Status { from: before }, now);
            }
        }
        if matches!(event, Event::Restarted | Event::ContainerRestarted) && effects.persist == Persist::Through {
            info!(sandbox_id = %self.sandbox.id(), "its container was restarted");
            self.announce(Change::Restarted, now);
        } else if before == status {
            self.announce_move(&effects, ahead, now, ctx);
        }
        if let Some(end) = effects.ended {
            self.announce_end(&end);
        }
        self.perform(effects, reply, now, ctx);
        self.arm(now, ctx);
        Ok(())
    }

    fn announce_end(&self, end: &End) {
        self.shared.metrics.ended(end);
        let lateness_ms = end.lateness().map(|lateness| lateness.as_secs_f64() * 1000.0);
        info!(sandbox_id = %self.sandbox.id(), reason = %end.reason, exit_code = end.exit_code, lateness_ms, "sandbox ends");
    }

    /// Persist, then the deed, then answer whoever waited for this: when it is stored, or the store is down.
    pub(super) fn perform(&mut self, effects: Effects, reply: Option<Asker>, now: Now, ctx: &mut Context<Self>) {
        if let Some(source) = effects.used {
            self.shared.metrics.activity(source);
        }
        let ticket = self.persist(effects.persist, now);
        if let Some(deed) = effects.deed {
            self.do_deed(deed, ctx);
        }
        let satisfied = self.satisfied();
        let replies = satisfied.into_iter().map(|wait| wait.reply).chain(reply);
        match ticket {
            Some(ticket) => self.tell_when_stored(ticket, replies.collect(), ctx),
            None => self.answer(replies),
        }
    }

    fn persist(&mut self, persist: Persist, now: Now) -> Option<Ticket> {
        let journal = &self.shared.journal;
        match persist {
            Persist::No => None,
            Persist::Behind if journal.covers(&self.cell, now.moment) => {
                self.cell.store(now.moment);
                if self.queued_in != Some(journal.generation()) {
                    self.queued_in = Some(journal.touch(&self.sandbox, &self.cell));
                }
                None
            }
            // A ping after a longer silence is a promise that the store could not keep: it waits for its write.
            Persist::Behind | Persist::Through => {
                self.cell.store(self.sandbox.last_activity());
                self.queued_in = None;
                Some(journal.put(self.sandbox.clone(), &self.cell))
            }
        }
    }

    /// Reports the write to the state machine, if that waits for it, and answers: when it is stored, or the store is down and
    /// it holds in memory.
    fn tell_when_stored(&self, mut ticket: Ticket, mut replies: Vec<Asker>, ctx: &mut Context<Self>) {
        let waits = self.sandbox.awaits_record();
        if !waits && replies.len() <= 1 {
            // Whoever asked waits by itself: that is every ping after a longer silence, and needs nobody between.
            if let Some(reply) = replies.pop() {
                let _ = reply.send(Reply::Once(self.sandbox.clone(), ticket, self.shared.journal.clone()));
            }
            return;
        }
        let (addr, journal) = (ctx.address(), self.shared.journal.clone());
        let (sandbox, revision) = (self.sandbox.clone(), self.sandbox.revision());
        self.shared.tasks.once("answer", async move {
            let outcome = journal.outcome(&mut ticket).await;
            for reply in replies {
                // Whoever hung up does not need the answer.
                let _ = reply.send(match outcome {
                    WriteOutcome::Stored | WriteOutcome::InMemory => Reply::Now(sandbox.clone()),
                    WriteOutcome::Refused => Reply::Refused(Refusal::NotInCharge),
                });
            }
            // What nobody waits for is dropped here: while the store is down, nothing piles up.
            if waits && ticket.await {
                addr.do_send(Tell(Event::Recorded(revision)));
            }
        });
    }

    /// Those whose wait is over.
    fn satisfied(&mut self) -> Vec<Wait> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let sandbox = &self.sandbox;
        self.waiting.extract_if(.., |wait| wait.reply.is_closed() || is_over(wait.until, sandbox)).collect()
    }

    /// Those who wait for a pause or resume learn that it failed.
    pub(super) fn refuse_waiting_for_steady(&mut self, refusal: &Refusal) {
        for wait in self.waiting.extract_if(.., |wait| wait.until == Until::Steady) {
            let _ = wait.reply.send(Reply::Refused(refusal.clone()));
        }
    }

    fn answer(&self, replies: impl Iterator<Item = Asker>) {
        for reply in replies {
            let _ = reply.send(Reply::Now(self.sandbox.clone()));
        }
    }

    /// Keeps one timer armed at or before the next deadline, or the warning ahead of it. A deadline that moved away leaves
    /// it: it will fire, look, and be armed for the rest (design, 3.6).
    pub(super) fn arm(&mut self, now: Now, ctx: &mut Context<Self>) {
        let Some((deadline, _)) = self.sandbox.next_action() else { return };
        let at = self.warns_at(now).map_or(deadline, |warning| warning.min(deadline));
        if self.alarm.as_ref().is_some_and(|alarm| alarm.at <= at) {
            return;
        }
        if let Some(later) = self.alarm.take() {
            ctx.cancel_future(later.handle);
        }
        let handle = ctx.run_later(at.since(now.moment), |actor, ctx| {
            actor.alarm = None;
            actor.warn(actor.shared.clock.now());
            actor.step(Event::TimerFired, ctx);
        });
        self.alarm = Some(Alarm { at, handle });
    }

    /// The cell, for the tombstone's write.
    pub(super) fn cell(&self) -> &ActivityCell {
        &self.cell
    }
}

fn is_over(until: Until, sandbox: &Sandbox) -> bool {
    match until {
        Until::Recorded => !sandbox.is_recording_intent(),
        Until::Started => !sandbox.is_starting(),
        Until::Steady => !sandbox.is_pausing_or_resuming(),
        Until::Gone => sandbox.is_gone(),
    }
}

impl Handler<Ask> for SandboxActor {
    type Result = ();

    fn handle(&mut self, Ask { event, reply }: Ask, ctx: &mut Context<Self>) {
        // Whoever is not in charge any more promises nothing.
        if self.shared.journal.lost().is_cancelled() {
            let _ = reply.send(Reply::Refused(Refusal::NotInCharge));
            return;
        }
        // A pause or resume is answered when it is done, everything else when it is applied.
        let refused = if matches!(event, Event::Pause | Event::Resume) {
            self.waiting.push(Wait { until: Until::Steady, reply });
            self.try_step(event, None, ctx).map_err(|(denied, _)| (denied, self.waiting.pop().map(|wait| wait.reply)))
        } else {
            self.try_step(event, Some(reply), ctx)
        };
        if let Err((denied, Some(reply))) = refused {
            let _ = reply.send(Reply::Refused(denied.into()));
        }
    }
}

impl Handler<Look> for SandboxActor {
    type Result = ();

    fn handle(&mut self, Look { reply }: Look, _: &mut Context<Self>) {
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
        self.step(event, ctx);
    }
}

impl Handler<News> for SandboxActor {
    type Result = ();

    fn handle(&mut self, News { container_id, event, only_of_record }: News, ctx: &mut Context<Self>) {
        if container_id.as_deref() == self.sandbox.details.container_id.as_deref() {
            self.step(event, ctx);
        } else if self.sandbox.is_starting() && !only_of_record {
            // Its start has not reported yet which container it has: this may be about that one.
            self.early_news = Some(Box::new((container_id, event)));
        }
    }
}

impl Handler<Rewrite> for SandboxActor {
    type Result = ();

    fn handle(&mut self, rewrite: Rewrite, ctx: &mut Context<Self>) {
        if self.sandbox.has_record() {
            let now = self.shared.clock.now();
            match rewrite {
                Rewrite::WallClockSet => self.announce(Change::Changed, now),
                Rewrite::StoreReverted => {}
                // It is being written just now.
                Rewrite::RecordLost if self.sandbox.awaits_record() => return,
                Rewrite::RecordLost => {
                    error!(sandbox_id = %self.sandbox.id(), "the store has lost its record, which is written again");
                    self.shared.metrics.record_lost();
                }
            }
            self.shared.journal.distrust(&self.cell);
            self.perform(Effects { persist: Persist::Through, ..Effects::default() }, None, now, ctx);
        }
    }
}

#[cfg(test)]
use super::messages::Sabotage;

#[cfg(test)]
impl Handler<Sabotage> for SandboxActor {
    type Result = ();

    fn handle(&mut self, sabotage: Sabotage, ctx: &mut Context<Self>) {
        match sabotage {
            Sabotage::Panic => panic!("on purpose"),
            Sabotage::LoseTimer => {
                if let Some(alarm) = self.alarm.as_mut() {
                    ctx.cancel_future(alarm.handle);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix::dev::ContextFut;

    use super::*;

    /// A task takes 104 bytes beside its future and is aligned to 128, for which the allocator takes a kibibyte. There may be
    /// a million of them, so that a step up has to be meant.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_actor_with_its_task_takes_no_more_than_a_kibibyte() {
        let future = size_of::<ContextFut<SandboxActor, Context<SandboxActor>>>();
        assert!(future + 104 <= 1024, "{future}");
    }
}
