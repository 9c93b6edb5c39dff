//! What a ping writes: one number, shared with the journal.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use crate::domain::Moment;

/// The last activity of one sandbox. Its actor stores, the journal reads; a later store is never lost, since whoever
/// stores asks [`super::Journal::generation`] afterwards whether a flush has begun since it last queued the sandbox.
#[derive(Clone, Debug)]
pub struct ActivityCell(Arc<AtomicI64>);

impl ActivityCell {
    /// A cell that shows `moment`.
    pub fn new(moment: Moment) -> Self {
        Self(Arc::new(AtomicI64::new(moment.as_nanos())))
    }

    /// Shows `moment` from now on.
    pub fn store(&self, moment: Moment) {
        // Ordered against the generation counter, which is what makes the hand-over to a flush safe.
        self.0.store(moment.as_nanos(), Ordering::SeqCst);
    }

    /// What it shows.
    pub fn load(&self) -> Moment {
        Moment::from_nanos(self.0.load(Ordering::SeqCst))
    }
}
