//! What one sandbox was promised, and what may become of it.

use std::time::Duration;

use sandglass::domain::{EndReason, OnTimeout, Sandbox};

use super::client::Ask;

/// Times in records are floats of epoch seconds: so much may be lost on the way.
pub(crate) const ROUNDING: f64 = 0.002;

/// Whether its create was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    /// Asked for; nobody knows yet, or ever knew.
    Asked,
    /// Acknowledged: it exists until it ends for a reason.
    Confirmed,
    /// Refused, or it failed: it must come to nothing.
    Refused,
}

/// What was promised in an answer, in epoch seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// The idle rule ends it not before this. Infinite while it is known to be paused.
    pub(crate) idle: f64,
    /// The active timeout ends it not before this.
    pub(crate) expiry: f64,
    /// Its end was acknowledged: it never comes back.
    pub(crate) end: bool,
}

/// One sandbox as its clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// What was asked for. Whoever asks again asks for the same.
    pub(crate) create: Ask,
    pub(crate) idle_timeout: f64,
    pub(crate) on_timeout: OnTimeout,
    pub(crate) birth: Birth,
    /// Why the one before it ended: so says its tombstone until this one has begun.
    pub(crate) former: Option<EndReason>,
    /// What was promised last.
    pub(crate) held: Promise,
    /// What was promised last while the store was well: all that a crash in an outage leaves.
    pub(crate) firm: Promise,
    /// The last time at which a use of it may have counted.
    pub(crate) last_use: f64,
    /// Whether something that moves its clock was left open, so that nobody knows when it counted.
    pub(crate) unsure: bool,
    /// Whether an answer is awaited.
    pub(crate) awaited: bool,
    pub(crate) end_asked: bool,
    pub(crate) pause_asked: bool,
    /// Its container was ended behind the supervisor's back.
    pub(crate) harmed: bool,
    /// A client was told that it is gone, and why.
    pub(crate) gone: Option<EndReason>,
}

impl Life {
    pub(crate) fn asked(create: Ask, idle: u64, on_timeout: OnTimeout, former: Option<EndReason>, now: f64) -> Self {
        let nothing = Promise { idle: f64::NEG_INFINITY, expiry: f64::NEG_INFINITY, end: false };
        Self {
            create,
            idle_timeout: Duration::from_secs(idle).as_secs_f64(),
            on_timeout,
            birth: Birth::Asked,
            former,
            held: nothing,
            firm: nothing,
            last_use: now,
            unsure: false,
            awaited: false,
            end_asked: false,
            pause_asked: on_timeout == OnTimeout::Pause,
            harmed: false,
            gone: None,
        }
    }

    /// Whether it is certain to live at `now`, and for so many seconds more.
    pub(crate) fn lives(&self, now: f64, seconds: f64) -> bool {
        let until = now + seconds + ROUNDING;
        let expires = self.on_timeout == OnTimeout::Terminate && self.held.expiry <= until;
        let given_up = self.end_asked || self.harmed || self.gone.is_some();
        self.birth == Birth::Confirmed && !given_up && self.held.idle > until && !expires
    }

    /// Whether a create makes a new one: none is there, or the last is gone, or it never was certain.
    pub(crate) fn may_be_created(&self) -> bool {
        self.gone.is_some() || (self.birth == Birth::Asked && !self.end_asked)
    }

    /// Why `reason` at `at` is no reason that it may end for; `None`: it may.
    pub(crate) fn objection(&self, reason: EndReason, at: f64) -> Option<String> {
        let too_early = |promised: f64| {
            let early = promised - at;
            (early > ROUNDING).then(|| format!("{reason} {early:.3} s before the time that was promised"))
        };
        match reason {
            EndReason::Idle => too_early(self.held.idle),
            EndReason::Expired if self.on_timeout == OnTimeout::Terminate => too_early(self.held.expiry),
            EndReason::Requested if self.end_asked => None,
            EndReason::Exited | EndReason::OomKilled | EndReason::Vanished if self.harmed => None,
            // That it had started may have been told without a store, and forgotten in a crash.
            EndReason::StartFailed if self.birth != Birth::Confirmed || self.harmed => None,
            former if self.birth != Birth::Confirmed && self.former == Some(former) => None,
            _ => Some(format!("{reason}, and there was no reason for that ({:?})", self.birth)),
        }
    }

    /// Why its container may not have ended at `now`; `None`: it may.
    pub(crate) fn container_objection(&self, now: f64) -> Option<String> {
        let certain = self.birth == Birth::Confirmed && !self.end_asked && !self.harmed;
        let reasons = [EndReason::Idle, EndReason::Expired];
        let objects = certain && reasons.iter().all(|reason| self.objection(*reason, now).is_some());
        objects.then(|| format!("its container has ended, {:.3} s before its time", self.held.idle - now))
    }

    /// An answer acknowledged use of it.
    pub(crate) fn acknowledged(&mut self, idle_deadline: Option<f64>, expires_at: f64, firmly: bool) {
        self.held = Promise { idle: idle_deadline.unwrap_or(f64::INFINITY), expiry: expires_at, end: self.held.end };
        if firmly {
            self.firm = self.held;
        }
    }

    /// A question is on its way that may bring its deadlines forward.
    pub(crate) fn may_end_from(&mut self, idle: f64, expiry: f64) {
        for promise in [&mut self.held, &mut self.firm] {
            promise.idle = promise.idle.min(idle);
            promise.expiry = promise.expiry.min(expiry);
        }
    }
}

/// Its end's reason, as an answer tells it.
pub(crate) fn reason_of(sandbox: &Sandbox) -> Option<EndReason> {
    sandbox.end().map(|end| end.reason)
}
