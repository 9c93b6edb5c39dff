//! The actor.

use std::{sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, SpawnHandle};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    calls::Caller,
    error::RequestError,
    messages::{Asker, Farewell, Reply, Tell, Until, Wait},
    pace::{Pace, Pacing},
    shared::Shared,
};
use crate::{
    domain::{
        Denied, Moment, Now, Sandbox,
        sandbox::{Change, Effects, End, EngineCall, Event, Persist},
    },
    journal::{ActivityCell, Ticket, WriteOutcome},
    ports::runtime::Start,
};

/// The armed timer.
pub(super) struct Alarm {
    at: Moment,
    pub(super) handle: SpawnHandle,
}

/// The actor of one sandbox. Small: hundreds of thousands of them live in one process.
pub(super) struct SandboxActor {
    pub(super) shared: Arc<Shared>,
    pub(super) sandbox: Sandbox,
    /// What to create the container from; `None` once that has begun.
    start: Option<Box<Start>>,
    /// Cancels the start that is under way.
    cancel: Option<CancellationToken>,
    pub(super) waiting: Vec<Wait>,
    /// The last event of a container while the start has not reported its own.
    pub(super) early_news: Option<Box<(Option<String>, Event)>>,
    /// Whether the metrics count it.
    counted: bool,
    /// What watchers were told, if somebody watches.
    pace: Option<Box<Pace>>,
    /// What to do first; `None` once it is done.
    first: Option<Box<Effects>>,
    cell: ActivityCell,
    /// The journal's generation in which this sandbox is queued for a flush.
    queued_in: Option<u64>,
    pub(super) alarm: Option<Alarm>,
}

impl Actor for SandboxActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let now = self.shared.clock.now();
        let first = self.first.take().map(|first| *first).unwrap_or_default();
        self.shared.metrics.status_changed(None, Some(self.sandbox.status()));
        self.counted = true;
        self.perform(first, None, now, ctx);
        self.note_watchers(ctx);
        self.arm(now, ctx);
    }
}

impl Drop for SandboxActor {
    /// However the actor ends, by leaving, by a panic or with its thread, the metrics no longer count it. Nothing else happens here.
    fn drop(&mut self) {
        if self.counted {
            self.shared.metrics.status_changed(Some(self.sandbox.status()), None);
        }
    }
}

impl SandboxActor {
    pub(super) fn new(shared: Arc<Shared>, sandbox: Sandbox, first: Effects, start: Option<Start>) -> Self {
        // The store has what was restored from it, and nothing of a new sandbox.
        let stored = if start.is_some() { Moment::DISTANT_PAST } else { sandbox.last_activity() };
        Self {
            cell: ActivityCell::new(sandbox.last_activity(), stored),
            shared,
            sandbox,
            start: start.map(Box::new),
            cancel: None,
            waiting: Vec::new(),
            early_news: None,
            counted: false,
            pace: None,
            first: Some(Box::new(first)),
            queued_in: None,
            alarm: None,
        }
    }

    /// Takes a step of the state machine, with all that follows. A refusal of an event that nobody waits for is only logged.
    pub(super) fn step(&mut self, event: Event, ctx: &mut Context<Self>) {
        if let Err((denied, _)) = self.try_step(event, None, ctx) {
            debug!(sandbox_id = %self.sandbox.id(), %denied, "an event came too late");
        }
    }

    pub(super) fn timer_fired(&mut self, ctx: &mut Context<Self>) {
        self.note_watchers(ctx);
        if self.misses_heartbeats_of_an_engine_that_was_away() {
            self.step(Event::HeartbeatExcused, ctx);
        }
        self.step(Event::TimerFired, ctx);
    }

    /// Tells the machine whether somebody watches, if that has changed.
    pub(super) fn note_watchers(&mut self, ctx: &mut Context<Self>) {
        let before = if self.shared.feed.is_awake() { self.shared.warn_before } else { Duration::ZERO };
        if before != self.sandbox.warned_before() {
            self.step(Event::Watched(before), ctx);
        }
    }

    /// Whether heartbeats are missing because the engine was away: its containers may not have run.
    fn misses_heartbeats_of_an_engine_that_was_away(&self) -> bool {
        let (sandbox, now) = (&self.sandbox, self.shared.clock.now().moment);
        sandbox.heartbeat_deadline().is_some_and(|due| due <= now)
            && self.shared.runtime_away.since(sandbox.last_heartbeat())
    }

    /// Takes a step and answers `reply` when the step's promise holds. Returns it with the refusal if the machine refuses.
    pub(super) fn try_step(
        &mut self,
        event: Event,
        reply: Option<Asker>,
        ctx: &mut Context<Self>,
    ) -> Result<(), (Denied, Option<Asker>)> {
        let now = self.shared.clock.now();
        let before = self.sandbox.status();
        let effects = match self.sandbox.apply(event, now) {
            Ok(effects) => effects,
            Err(denied) => return Err((denied, reply)),
        };
        let status = self.sandbox.status();
        if before != status {
            self.shared.metrics.status_changed(Some(before), Some(status));
            info!(sandbox_id = %self.sandbox.id(), from = %before, to = %status, "status changed");
        }
        self.perform(effects, reply, now, ctx);
        self.arm(now, ctx);
        Ok(())
    }

    /// Tell, persist, call, then answer those who waited for this: when it is stored, or the store is down.
    fn perform(&mut self, effects: Effects, reply: Option<Asker>, now: Now, ctx: &mut Context<Self>) {
        if let Some(source) = effects.used {
            self.shared.metrics.activity(source);
        }
        if let Some(change) = effects.tell {
            self.tell(change, now, ctx);
        }
        if let Some(end) = effects.ended {
            self.note_end(&end);
        }
        let ticket = self.persist(effects.persist, now, ctx);
        if let Some(call) = effects.call {
            self.call(call, ctx);
        }
        let satisfied = self.satisfied();
        let replies = satisfied.into_iter().map(|wait| wait.reply).chain(reply);
        match ticket {
            Some(ticket) => self.tell_when_stored(ticket, replies.collect(), ctx),
            None => self.answer(replies),
        }
    }

    /// Tells those who watch. What is told of one sandbox comes from one thread at a time, since an id's arbiter is fixed: a
    /// new sandbox of an id tells that it is there after the one before has told that it is gone.
    fn tell(&mut self, change: Change, now: Now, ctx: &mut Context<Self>) {
        match change {
            Change::Restarted => info!(sandbox_id = %self.sandbox.id(), "its container was restarted"),
            Change::Removed => self.leave(now, ctx),
            _ => {}
        }
        if !self.shared.feed.is_awake() {
            return;
        }
        match self.pace.get_or_insert_default().take(change, now.moment) {
            Pacing::Now(change) => self.shared.feed.publish(change, &self.sandbox, now),
            Pacing::Later(wait) => {
                ctx.run_later(wait, |actor, _| actor.tell_untold());
            }
            Pacing::Waits => {}
        }
    }

    fn tell_untold(&mut self) {
        let now = self.shared.clock.now();
        if let Some(change) = self.pace.as_mut().and_then(|pace| pace.take_untold(now.moment)) {
            self.shared.feed.publish(change, &self.sandbox, now);
        }
    }

    fn note_end(&self, end: &End) {
        self.shared.metrics.ended(end);
        let lateness_ms = end.lateness().map(|lateness| lateness.as_secs_f64() * 1000.0);
        info!(sandbox_id = %self.sandbox.id(), reason = %end.reason, exit_code = end.exit_code, lateness_ms, "sandbox ends");
    }

    fn call(&mut self, call: EngineCall, ctx: &Context<Self>) {
        // A supervisor that has lost the lease stops acting at once. The new holder finishes what was begun.
        if self.shared.journal.lost().is_cancelled() {
            return;
        }
        let report = ctx.address().recipient();
        let caller = Caller { shared: self.shared.clone(), sandbox: self.sandbox.clone(), report };
        match call {
            EngineCall::Start => {
                let cancel = self.cancel.insert(CancellationToken::new()).clone();
                caller.start(self.start.take(), cancel);
            }
            EngineCall::CancelStart => {
                if let Some(cancel) = self.cancel.take() {
                    cancel.cancel();
                }
            }
            call => caller.make(call),
        }
    }

    /// The end: leave the registry first, so that those who waited for this find the id free; then answer what is still in
    /// the mailbox; stop last. A message that comes even later is not answered, and its sender finds the tombstone.
    fn leave(&mut self, now: Now, ctx: &Context<Self>) {
        self.shared.registry.bury(self.sandbox.clone(), now.moment.plus(self.shared.retention));
        self.shared.metrics.status_changed(Some(self.sandbox.status()), None);
        self.counted = false;
        ctx.address().do_send(Farewell);
    }

    fn persist(&mut self, persist: Persist, now: Now, ctx: &Context<Self>) -> Option<Ticket> {
        let journal = &self.shared.journal;
        match persist {
            Persist::No => None,
            Persist::Tombstone => {
                self.bury(ctx);
                None
            }
            Persist::Behind if journal.covers(&self.cell, now.moment) => {
                self.cell.store(now.moment);
                if self.queued_in != Some(journal.generation()) {
                    self.queued_in = Some(journal.touch(&self.sandbox, &self.cell));
                }
                None
            }
            // A ping after a longer silence is a promise that the store could not keep: it waits for its write.
            Persist::Behind | Persist::Through | Persist::Anew => {
                if persist == Persist::Anew {
                    journal.distrust(&self.cell);
                }
                self.cell.store(self.sandbox.last_activity());
                self.queued_in = None;
                Some(journal.put(self.sandbox.clone(), &self.cell))
            }
        }
    }

    /// Writes the tombstone: the sandbox as it will be once this is stored. Without the lease, nothing is buried.
    fn bury(&self, ctx: &Context<Self>) {
        if self.shared.journal.lost().is_cancelled() {
            return;
        }
        let mut tombstone = self.sandbox.clone();
        // `Buried` is never refused.
        let _ = tombstone.apply(Event::Buried, self.shared.clock.now());
        let ticket = self.shared.journal.bury(tombstone, &self.cell, self.shared.retention);
        let addr = ctx.address();
        self.shared.tasks.once("burial", async move {
            if ticket.await {
                addr.do_send(Tell(Event::Buried));
            }
        });
    }

    /// Reports the write to the state machine, if that waits for it, and answers: when it is stored, or the store is down and
    /// it holds in memory.
    fn tell_when_stored(&self, mut ticket: Ticket, mut replies: Vec<Asker>, ctx: &mut Context<Self>) {
        let waits = self.sandbox.awaits_record();
        if !waits && replies.len() <= 1 {
            // The one who asked waits for the write itself. Every ping after a longer silence takes this path, without a task.
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
                // A client that hung up does not need the answer.
                let _ = reply.send(match outcome {
                    WriteOutcome::Stored | WriteOutcome::InMemory => Reply::Now(sandbox.clone()),
                    WriteOutcome::Refused => Reply::Refused(RequestError::not_in_charge()),
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
    pub(super) fn refuse_waiting_for_steady(&mut self, refusal: &RequestError) {
        for wait in self.waiting.extract_if(.., |wait| wait.until == Until::Steady) {
            let _ = wait.reply.send(Reply::Refused(refusal.clone()));
        }
    }

    pub(super) fn answer(&self, replies: impl Iterator<Item = Asker>) {
        for reply in replies {
            let _ = reply.send(Reply::Now(self.sandbox.clone()));
        }
    }

    /// Keeps one timer armed at or before the next deadline, or the warning ahead of it. A deadline that moved away leaves
    /// it: it will fire, look, and be armed for the rest ([design: lazy timer](crate::design::time::lazy_timer)).
    fn arm(&mut self, now: Now, ctx: &mut Context<Self>) {
        let Some(at) = self.sandbox.next_wake() else { return };
        if self.alarm.as_ref().is_some_and(|alarm| alarm.at <= at) {
            return;
        }
        if let Some(later) = self.alarm.take() {
            ctx.cancel_future(later.handle);
        }
        let handle = ctx.run_later(at.since(now.moment), |actor, ctx| {
            actor.alarm = None;
            actor.timer_fired(ctx);
        });
        self.alarm = Some(Alarm { at, handle });
    }

    /// What was told of a container before it was known which one is this sandbox's.
    pub(super) fn take_early_news(&mut self, ctx: &mut Context<Self>) {
        if !self.sandbox.is_starting()
            && let Some((container_id, news)) = self.early_news.take().map(|news| *news)
            && container_id.as_deref() == self.sandbox.details.container_id.as_deref()
        {
            self.step(news, ctx);
        }
    }
}

pub(super) fn is_over(until: Until, sandbox: &Sandbox) -> bool {
    match until {
        Until::Recorded => !sandbox.is_recording_intent(),
        Until::Started => !sandbox.is_starting(),
        Until::Steady => !sandbox.is_pausing_or_resuming(),
        Until::Ending => !sandbox.is_alive(),
        Until::Gone => sandbox.is_gone(),
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
