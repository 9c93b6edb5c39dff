//! The promises about one sandbox, and how it may end.

use std::{collections::BTreeMap, time::Duration};

use sandglass::domain::{EndReason, OnTimeout, Sandbox};

use super::client::Ask;

/// Rounding error of times in records, which are floats of epoch seconds.
pub(crate) const ROUNDING: f64 = 0.002;

/// Whether its create was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    /// It was requested, and the client does not know the outcome.
    Asked,
    /// It was acknowledged, and exists until it ends for a reason.
    Confirmed,
    /// It was refused or failed, and must not live.
    Refused,
}

/// The promises of an answer, in epoch seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// The idle rule does not end it before this. Infinite while it is known to be paused.
    pub(crate) idle: f64,
    /// The active timeout does not end it before this.
    pub(crate) expiry: f64,
    /// Its end was acknowledged, so it never comes back.
    pub(crate) end: bool,
}

/// Whose hold it is, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HoldKey {
    /// A client's, which keeps the sandbox in use.
    Client(u64),
    /// That of a command, which keeps it until it ends.
    Command(u64),
}

/// A hold as its owner knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// When it is over at the latest.
    pub(crate) until: f64,
    /// Before when it is not over, unless something is unsure.
    pub(crate) firm_until: f64,
}

/// One sandbox as its clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// The create's timeouts, the same in every attempt.
    pub(crate) create: Ask,
    pub(crate) idle_timeout: f64,
    pub(crate) on_timeout: OnTimeout,
    pub(crate) birth: Birth,
    /// Why the sandbox before it ended, as its tombstone says until this one begins.
    pub(crate) former: Option<EndReason>,
    /// The last promises.
    pub(crate) held: Promise,
    /// The last promises before the store's outage, which alone survive a crash in it.
    pub(crate) firm: Promise,
    /// The last time at which activity may have counted, holds aside.
    pub(crate) last_use: f64,
    /// The holds on it.
    pub(crate) holds: BTreeMap<HoldKey, Hold>,
    /// The latest end of all holds that were ever asked for: a crash can bring back one that was released.
    pub(crate) last_hold: f64,
    /// Whether a request that moves its clock was left without an answer, so that it may count at any time.
    pub(crate) unsure: bool,
    /// Whether an answer is awaited.
    pub(crate) awaited: bool,
    pub(crate) end_asked: bool,
    pub(crate) pause_asked: bool,
    /// Whether its container was ended behind the supervisor's back.
    pub(crate) harmed: bool,
    /// The reason with which a client was told that it is gone.
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
            holds: BTreeMap::new(),
            last_hold: f64::NEG_INFINITY,
            unsure: false,
            awaited: false,
            end_asked: false,
            pause_asked: on_timeout == OnTimeout::Pause,
            harmed: false,
            gone: None,
        }
    }

    /// Whether it is certain to live at `now` and for this many seconds more.
    pub(crate) fn lives(&self, now: f64, seconds: f64) -> bool {
        let until = now + seconds + ROUNDING;
        let expires = self.expires() && self.held.expiry <= until;
        let given_up = self.end_asked || self.harmed || self.gone.is_some();
        self.birth == Birth::Confirmed && !given_up && self.held.idle > until && !expires
    }

    /// Whether the end of its active timeout ends it.
    fn expires(&self) -> bool {
        matches!(self.on_timeout, OnTimeout::Terminate | OnTimeout::TerminateUnlessPaused)
    }

    /// The latest time at which it may have been in use.
    pub(crate) fn in_use_until(&self) -> f64 {
        self.holds.values().map(|hold| hold.until).fold(self.last_use, f64::max)
    }

    /// Takes back what was noted of a request that changed nothing.
    pub(crate) fn nothing_changed(&mut self, before: &Self) {
        (self.last_use, self.last_hold) = (before.last_use, before.last_hold);
        (self.held, self.firm) = (before.held, before.firm);
        self.holds.clone_from(&before.holds);
    }

    /// Whether a create makes a new sandbox.
    pub(crate) fn may_be_created(&self) -> bool {
        self.gone.is_some() || (self.birth == Birth::Asked && !self.end_asked)
    }

    /// Why it may not end for `reason` at `at`; `None` if it may.
    pub(crate) fn objection(&self, reason: EndReason, at: f64) -> Option<String> {
        let too_early = |promised: f64| {
            let early = promised - at;
            (early > ROUNDING).then(|| format!("{reason} {early:.3} s before the time that was promised"))
        };
        match reason {
            EndReason::Idle => too_early(self.held.idle),
            EndReason::Expired if self.expires() => too_early(self.held.expiry),
            EndReason::Requested if self.end_asked => None,
            EndReason::Exited | EndReason::OomKilled | EndReason::Vanished if self.harmed => None,
            // Its start may have been acknowledged during an outage of the store, and lost in a crash.
            EndReason::StartFailed if self.birth != Birth::Confirmed || self.harmed => None,
            former if self.birth != Birth::Confirmed && self.former == Some(former) => None,
            _ => Some(format!("{reason}, and there was no reason for that ({:?})", self.birth)),
        }
    }

    /// Why its container must run at `now`; `None` if it may have ended.
    pub(crate) fn container_objection(&self, now: f64) -> Option<String> {
        let certain = self.birth == Birth::Confirmed && !self.end_asked && !self.harmed;
        let reasons = [EndReason::Idle, EndReason::Expired];
        let objects = certain && reasons.iter().all(|reason| self.objection(*reason, now).is_some());
        objects.then(|| format!("its container has ended, {:.3} s before its time", self.held.idle - now))
    }

    /// Notes an answer that acknowledged activity.
    pub(crate) fn acknowledged(&mut self, idle_deadline: Option<f64>, expires_at: f64, firmly: bool) {
        self.held = Promise { idle: idle_deadline.unwrap_or(f64::INFINITY), expiry: expires_at, end: self.held.end };
        if firmly {
            self.firm = self.held;
        }
    }

    /// Notes a request in flight that may bring its deadlines forward.
    pub(crate) fn may_end_from(&mut self, idle: f64, expiry: f64) {
        for promise in [&mut self.held, &mut self.firm] {
            promise.idle = promise.idle.min(idle);
            promise.expiry = promise.expiry.min(expiry);
        }
    }
}

/// The reason of its end, according to an answer.
pub(crate) fn reason_of(sandbox: &Sandbox) -> Option<EndReason> {
    sandbox.end().map(|end| end.reason)
}
