//! The time of the last activity, which pings write and the journal reads.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use crate::domain::Moment;

/// A sandbox's last activity, which its actor writes, and the last activity in the store, which the journal writes. No
/// activity is lost: after writing one, the actor reads [`super::Journal::generation`] to find out whether a flush has begun
/// since it last queued the sandbox.
#[derive(Clone, Debug)]
pub struct ActivityCell(Arc<Times>);

#[derive(Debug)]
struct Times {
    latest: AtomicI64,
    stored: AtomicI64,
}

impl ActivityCell {
    /// A cell with the last activity, and the last one in the store.
    pub fn new(latest: Moment, stored: Moment) -> Self {
        let [latest, stored] = [latest, stored].map(|moment| AtomicI64::new(moment.as_nanos()));
        Self(Arc::new(Times { latest, stored }))
    }

    /// Sets the last activity.
    pub fn store(&self, moment: Moment) {
        // The order relative to the generation counter makes the hand-over to a flush safe.
        self.0.latest.store(moment.as_nanos(), Ordering::SeqCst);
    }

    /// The last activity.
    pub fn load(&self) -> Moment {
        Moment::from_nanos(self.0.latest.load(Ordering::SeqCst))
    }

    /// The last activity that the store is known to have.
    pub fn stored(&self) -> Moment {
        Moment::from_nanos(self.0.stored.load(Ordering::Acquire))
    }

    /// Sets the last activity in the store. Called by the journal's writer, in the order of its commits.
    pub(super) fn set_stored(&self, moment: Moment) {
        self.0.stored.store(moment.as_nanos(), Ordering::Release);
    }
}
