//! Holds: while somebody holds a sandbox, it counts as used ([design: holds](crate::design::time::holds)).
//!
//! Every hold has an end of its own, so that a client that crashes pins nothing. The idle clock starts again when the last
//! hold is over, by its end or by a release.

use std::time::Duration;

use super::{
    super::{
        time::{Moment, Now},
        words::ActivitySource,
    },
    event::{Denied, Effects},
    state::Sandbox,
};

/// How many holds a sandbox can have.
pub const MOST_HOLDS: usize = 16;

/// A hold on a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What its owner calls it.
    pub name: Box<str>,
    /// What it is for, in its owner's words.
    pub reason: Option<Box<str>>,
    /// When it was taken.
    pub since: Moment,
    /// When it is over, unless it is renewed.
    pub until: Moment,
}

/// A hold that somebody wants to take or to renew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRequest {
    /// What its owner calls it.
    pub name: Box<str>,
    /// For how long, from now on.
    pub ttl: Duration,
    /// What it is for.
    pub reason: Option<Box<str>>,
}

impl Sandbox {
    /// The holds on it that are not over, in the order of their names.
    pub fn holds(&self, now: Moment) -> impl Iterator<Item = &Hold> {
        self.details.holds.iter().filter(move |hold| now < hold.until)
    }

    /// When it was last in use, as far as is known: a hold is use until it is over.
    pub(super) fn in_use_until(&self) -> Moment {
        self.details.holds.iter().map(|hold| hold.until).fold(self.last_activity(), Moment::max)
    }

    /// When the next hold is over.
    pub(super) fn next_hold_over(&self) -> Option<Moment> {
        self.details.holds.iter().map(|hold| hold.until).min()
    }

    pub(super) fn hold(&mut self, request: HoldRequest, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        let HoldRequest { name, ttl, reason } = request;
        let since = self.holds(now.moment).find(|hold| hold.name == name).map_or(now.moment, |known| known.since);
        let mut holds: Vec<Hold> = self.holds(now.moment).filter(|hold| hold.name != name).cloned().collect();
        if holds.len() >= MOST_HOLDS {
            return Err(Denied::TooManyHolds);
        }
        holds.push(Hold { name, reason, since, until: now.moment.plus(ttl) });
        holds.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(self.hold_by(holds, now))
    }

    pub(super) fn release(&mut self, name: &str, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        if !self.holds(now.moment).any(|hold| &*hold.name == name) {
            return Err(Denied::NoSuchHold);
        }
        let others = self.holds(now.moment).filter(|hold| &*hold.name != name).cloned().collect();
        Ok(self.hold_by(others, now))
    }

    fn hold_by(&mut self, holds: Vec<Hold>, now: Now) -> Effects {
        self.details_mut().holds = holds.into();
        self.note_activity(ActivitySource::Hold, now);
        self.write_through().used(ActivitySource::Hold)
    }

    /// Drops the holds that are over; each was use until then. Whether there were any.
    pub(super) fn drop_holds(&mut self, now: Now) -> bool {
        let over = self.details.holds.iter().map(|hold| hold.until).filter(|until| *until <= now.moment).max();
        let Some(over) = over.filter(|_| self.is_alive()) else { return false };
        let left = self.holds(now.moment).cloned().collect();
        self.details_mut().holds = left;
        // The slack stays: what a restart may have lost can be later than the end of the hold.
        self.state.last_activity = self.state.last_activity.max(over);
        true
    }
}
