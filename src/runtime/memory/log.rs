//! What happened, as far as it is remembered: one bounded log that those who listen read, each at a pace of its own.
//! Nobody is told anything one by one, so an engine that nobody listens to pays for the log only.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::Notify;

use crate::{
    domain::EpochSeconds,
    ports::runtime::{ContainerEvent, RuntimeError},
};

/// So many events are remembered; whoever is further behind has lost some, and its stream breaks.
pub(super) const REMEMBERED: usize = 4096;

/// The events, the oldest first.
#[derive(Default)]
pub(super) struct Log {
    pub(super) events: VecDeque<ContainerEvent>,
    /// How many are no longer there: the number of the first that is.
    forgotten: u64,
    pub(super) happened: Arc<Notify>,
}

impl Log {
    /// The engine's memory goes with its process.
    pub(super) fn forget(&mut self) {
        self.forgotten += self.events.len() as u64;
        self.events.clear();
        self.happened.notify_waiters();
    }

    pub(super) fn push(&mut self, event: ContainerEvent) {
        if self.events.len() == REMEMBERED {
            self.events.pop_front();
            self.forgotten += 1;
        }
        self.events.push_back(event);
        self.happened.notify_waiters();
    }

    /// The number of the first event since then; of the next one, without a time. As an engine does, it looks from the
    /// end: a clock that was set back ends the look.
    pub(super) fn position(&self, since: Option<EpochSeconds>) -> u64 {
        let newer = |since| self.events.iter().rev().take_while(|event| event.at >= since).count();
        self.forgotten + (self.events.len() - since.map_or(0, newer)) as u64
    }

    /// The event with this number; `None`: it has not happened yet.
    pub(super) fn get(&self, number: u64) -> Result<Option<ContainerEvent>, RuntimeError> {
        match number.checked_sub(self.forgotten).map(usize::try_from) {
            Some(index) => Ok(index.ok().and_then(|index| self.events.get(index)).cloned()),
            None => Err(RuntimeError::Failed("events came faster than they were read".to_owned())),
        }
    }
}
