//! What a ping writes: one number, shared with the journal.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use crate::domain::Moment;

/// The last activity of one sandbox, and how much of it the store has. Its actor stores the first, the journal the second.
/// A later activity is never lost, since whoever stores one asks [`super::Journal::generation`] afterwards whether a flush
/// has begun since it last queued the sandbox.
#[derive(Clone, Debug)]
pub struct ActivityCell(Arc<Times>);

#[derive(Debug)]
struct Times {
    latest: AtomicI64,
    stored: AtomicI64,
}

impl ActivityCell {
    /// A cell that shows `latest`, of which the store has `stored`.
    pub fn new(latest: Moment, stored: Moment) -> Self {
        let [latest, stored] = [latest, stored].map(|moment| AtomicI64::new(moment.as_nanos()));
        Self(Arc::new(Times { latest, stored }))
    }

    /// Shows `moment` from now on.
    pub fn store(&self, moment: Moment) {
        // Ordered against the generation counter, which is what makes the hand-over to a flush safe.
        self.0.latest.store(moment.as_nanos(), Ordering::SeqCst);
    }

    /// What it shows.
    pub fn load(&self) -> Moment {
        Moment::from_nanos(self.0.latest.load(Ordering::SeqCst))
    }

    /// The last activity that the store is known to have.
    pub fn stored(&self) -> Moment {
        Moment::from_nanos(self.0.stored.load(Ordering::Acquire))
    }

    /// The store has `moment`. Only the journal's writer says so, in the order of its commits.
    pub(super) fn set_stored(&self, moment: Moment) {
        self.0.stored.store(moment.as_nanos(), Ordering::Release);
    }
}
