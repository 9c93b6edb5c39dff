//! The bounded log of events, which every stream reads at its own pace.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::Notify;

use crate::{
    domain::EpochSeconds,
    ports::runtime::{ContainerEvent, RuntimeError},
};

/// The capacity of the log. Streams that fall further behind break.
pub(super) const REMEMBERED: usize = 4096;

/// The events, the oldest first.
#[derive(Default)]
pub(super) struct Log {
    pub(super) events: VecDeque<ContainerEvent>,
    /// How many events were dropped: the number of the first that is left.
    forgotten: u64,
    pub(super) happened: Arc<Notify>,
}

impl Log {
    /// Drops all events, as an engine's end does.
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

    /// The number of the first event since `since`, or of the next event. Searches from the end, as Docker does: an event
    /// before a clock was set back ends the search.
    pub(super) fn position(&self, since: Option<EpochSeconds>) -> u64 {
        let newer = |since| self.events.iter().rev().take_while(|event| event.at >= since).count();
        self.forgotten + (self.events.len() - since.map_or(0, newer)) as u64
    }

    /// The event with this number; `None` if it has not happened yet.
    pub(super) fn get(&self, number: u64) -> Result<Option<ContainerEvent>, RuntimeError> {
        match number.checked_sub(self.forgotten).map(usize::try_from) {
            Some(index) => Ok(index.ok().and_then(|index| self.events.get(index)).cloned()),
            None => Err(RuntimeError::Failed("events came faster than they were read".to_owned())),
        }
    }
}
