//! What the actor tells those who watch (design, 8): every change at once, moved deadlines at most once a second, and a
//! warning ahead of the end. While nobody watches, all of it costs one look at a flag.
//!
//! What is told of one sandbox comes from one thread at a time, since an id's arbiter is fixed: a new sandbox of an id
//! tells that it is there after the one before has told that it is gone.

use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message};

use super::sandbox::SandboxActor;
use crate::{
    domain::{
        ActivitySource, EndReason, Moment, Now,
        sandbox::{Action, Effects},
    },
    feed::Change,
    ports::runtime::StartProgress,
};

/// How often moved deadlines are told of, at most (design, 8.3).
const EVERY: Duration = Duration::from_secs(1);

/// What was told, and what is still to be told. Only actors that are watched have one.
#[derive(Debug)]
pub(super) struct Announced {
    /// When a moved deadline was last told of.
    moved_at: Moment,
    /// What moved a deadline since, if that was not told yet; it will be, by a timer that is armed.
    untold: Option<Mover>,
    /// The end that is ahead, and when to warn of it; `None`: that was done.
    ahead: Moment,
    warns_at: Option<Moment>,
}

impl Default for Announced {
    fn default() -> Self {
        Self { moved_at: Moment::DISTANT_PAST, untold: None, ahead: Moment::DISTANT_PAST, warns_at: None }
    }
}

/// What moved a deadline.
#[derive(Clone, Copy, Debug)]
enum Mover {
    Use(ActivitySource),
    /// A heartbeat, or a pause that is under way.
    Else,
}

impl From<Mover> for Change {
    fn from(mover: Mover) -> Self {
        match mover {
            Mover::Use(source) => Self::Activity { source },
            Mover::Else => Self::Changed,
        }
    }
}

impl SandboxActor {
    /// Tells of a change. Whatever is told carries the deadlines along.
    pub(super) fn announce(&mut self, change: Change, now: Now) {
        if let Some(announced) = &mut self.announced {
            announced.untold = None;
        }
        self.shared.feed.publish(change, &self.sandbox, now);
    }

    /// When Sandglass will act by itself, for [`SandboxActor::announce_move`] to compare with; `None` also while nobody
    /// watches.
    pub(super) fn watched_end(&self) -> Option<Moment> {
        self.shared.feed.is_awake().then(|| self.sandbox.terminates_at()).flatten()
    }

    /// The sandbox was used, or acts at another time than `before`, and that was not told as something else: tells at
    /// once, or, if that was done within this second, at its end.
    pub(super) fn announce_move(
        &mut self,
        effects: &Effects,
        before: Option<Moment>,
        now: Now,
        ctx: &mut Context<Self>,
    ) {
        let mover = match effects.used {
            Some(source) => Mover::Use(source),
            None if self.watched_end() != before => Mover::Else,
            None => return,
        };
        if !self.shared.feed.is_awake() {
            return;
        }
        let announced = self.announced.get_or_insert_default();
        let since = now.moment.since(announced.moved_at);
        if since >= EVERY {
            announced.moved_at = now.moment;
            self.announce(mover.into(), now);
        } else if announced.untold.replace(mover).is_none() {
            ctx.run_later(EVERY - since, |actor, _| actor.tell_untold());
        }
    }

    fn tell_untold(&mut self) {
        let now = self.shared.clock.now();
        let Some(announced) = &mut self.announced else { return };
        if let Some(mover) = announced.untold {
            announced.moved_at = now.moment;
            self.announce(mover.into(), now);
        }
    }

    /// When to warn of what is ahead; `None` when that was done, or nobody watches. An end that is not further away than
    /// twice the configured time, when it is first seen, is warned of when half of that is over.
    pub(super) fn warns_at(&mut self, now: Now) -> Option<Moment> {
        let warn_before = self.shared.warn_before;
        if warn_before.is_zero() || !self.shared.feed.is_awake() {
            return None;
        }
        let sandbox = &self.sandbox;
        let (end, action) = sandbox.next_action()?;
        let can_be_kept = match action {
            Action::End(reason) => matches!(reason, EndReason::Idle | EndReason::Expired),
            // One that is tried again and again was warned of.
            Action::Pause => sandbox.expires_at() > now.moment,
            Action::Retry => false,
        };
        if !can_be_kept {
            return None;
        }
        let announced = self.announced.get_or_insert_default();
        if announced.ahead != end {
            announced.ahead = end;
            announced.warns_at = Some(end.minus(warn_before.min(end.since(now.moment) / 2)));
        }
        announced.warns_at
    }

    /// Warns of what is ahead if it is time to.
    pub(super) fn warn(&mut self, now: Now) {
        if self.warns_at(now).is_none_or(|at| at > now.moment) {
            return;
        }
        let Some(announced) = &mut self.announced else { return };
        announced.warns_at = None;
        // What is due already is not warned of.
        if announced.ahead > now.moment {
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
        let now = self.shared.clock.now();
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
        if self.sandbox.is_starting() {
            let now = self.shared.clock.now();
            self.announce(Change::Progress(progress), now);
        }
    }
}
