//! What the actor tells those who watch (design, 8): every change at once, moved deadlines at most once a second, and a
//! warning ahead of the end. While nobody watches, all of it costs one look at a flag.

use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message};

use super::sandbox::SandboxActor;
use crate::{
    domain::{ActivitySource, Moment, Now},
    feed::Change,
    ports::runtime::StartProgress,
};

/// How often moved deadlines are told of, at most (design, 8.3).
const EVERY: Duration = Duration::from_secs(1);

/// What was told, and what is still to be told.
#[derive(Debug)]
pub(super) struct Announced {
    /// When a moved deadline was last told of.
    activity_at: Moment,
    /// What moved a deadline since, if that was not told yet; it will be, by a timer that is armed.
    untold: Option<ActivitySource>,
    /// The end that was warned of.
    warned_of: Option<Moment>,
}

impl Default for Announced {
    fn default() -> Self {
        Self { activity_at: Moment::DISTANT_PAST, untold: None, warned_of: None }
    }
}

impl SandboxActor {
    /// Tells of a change. Whatever is told carries the deadlines along.
    pub(super) fn announce(&mut self, change: Change, now: Now) {
        self.announced.untold = None;
        self.world.feed.publish(change, &self.sandbox, now);
    }

    /// The sandbox was used: tells at once, or, if that was done within this second, at its end.
    pub(super) fn announce_use(&mut self, source: ActivitySource, now: Now, ctx: &mut Context<Self>) {
        if !self.world.feed.is_awake() {
            return;
        }
        let since = now.moment.since(self.announced.activity_at);
        if since >= EVERY {
            self.announced.activity_at = now.moment;
            self.announce(Change::Activity { source }, now);
            return;
        }
        if self.announced.untold.replace(source).is_none() {
            ctx.run_later(EVERY - since, |actor, _| {
                if let Some(source) = actor.announced.untold {
                    let now = actor.world.clock.now();
                    actor.announced.activity_at = now.moment;
                    actor.announce(Change::Activity { source }, now);
                }
            });
        }
    }

    /// When to warn of the next end; `None` when that was done, or nobody watches. Of a timeout that is not longer than
    /// twice the configured time, half remains.
    pub(super) fn warns_at(&self) -> Option<Moment> {
        if self.world.warn_before.is_zero() || !self.world.feed.is_awake() {
            return None;
        }
        let end = self.sandbox.life.terminates_at().filter(|end| self.announced.warned_of != Some(*end))?;
        let half = end.since(self.sandbox.life.last_activity()) / 2;
        Some(end.minus(self.world.warn_before.min(half)))
    }

    /// Warns of the next end if it is time to.
    pub(super) fn warn(&mut self, now: Now) {
        let due = self.warns_at().is_some_and(|at| at <= now.moment);
        if let Some(end) = self.sandbox.life.terminates_at().filter(|end| due && *end > now.moment) {
            self.announced.warned_of = Some(end);
            self.announce(Change::Expiring, now);
        }
    }
}

/// Somebody watches from now on: what is only for them is to be armed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Watched;

impl Handler<Watched> for SandboxActor {
    type Result = ();

    fn handle(&mut self, _: Watched, ctx: &mut Context<Self>) {
        let now = self.world.clock.now();
        self.arm(now, ctx);
    }
}

/// The start goes on.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Progress(pub(super) StartProgress);

impl Handler<Progress> for SandboxActor {
    type Result = ();

    fn handle(&mut self, Progress(progress): Progress, _: &mut Context<Self>) {
        // What was reported before the start was broken off may come after it.
        if self.sandbox.life.is_starting() {
            let now = self.world.clock.now();
            self.announce(Change::Progress(progress), now);
        }
    }
}
