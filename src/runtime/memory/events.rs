//! What happened, as far as it is remembered: one bounded log that those who listen read, each at a pace of its own.
//! Nobody is told anything one by one, so an engine that nobody listens to pays for the log only.

use std::{collections::VecDeque, sync::Arc};

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{Notify, futures::Notified};

use super::{Memory, Point, When};
use crate::{
    domain::EpochSeconds,
    ports::runtime::{ContainerEvent, RuntimeError},
};

/// So many events are remembered; whoever is further behind has lost some, and its stream breaks.
const REMEMBERED: usize = 4096;

/// The events, the oldest first.
#[derive(Default)]
pub(super) struct Log {
    events: VecDeque<ContainerEvent>,
    /// How many are no longer there: the number of the first that is.
    forgotten: u64,
    happened: Arc<Notify>,
}

impl Log {
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
    fn position(&self, since: Option<EpochSeconds>) -> u64 {
        let newer = |since| self.events.iter().rev().take_while(|event| event.at >= since).count();
        self.forgotten + (self.events.len() - since.map_or(0, newer)) as u64
    }

    /// The event with this number; `None`: it has not happened yet.
    fn get(&self, number: u64) -> Result<Option<ContainerEvent>, RuntimeError> {
        match number.checked_sub(self.forgotten).map(usize::try_from) {
            Some(index) => Ok(index.ok().and_then(|index| self.events.get(index)).cloned()),
            None => Err(RuntimeError::Failed("events came faster than they were read".to_owned())),
        }
    }
}

/// One that listens, connected or about to.
struct Listener {
    memory: Memory,
    since: Option<EpochSeconds>,
    /// The number of the next event to tell; `None`: not connected yet.
    next: Option<u64>,
}

impl Memory {
    /// The stream of a new listener.
    pub(super) fn listen(
        &self,
        since: Option<EpochSeconds>,
    ) -> BoxStream<'static, Result<ContainerEvent, RuntimeError>> {
        let listener = Listener { memory: self.clone(), since, next: None };
        stream::unfold(Some(listener), |listener| async {
            let mut listener = listener?;
            Some(match listener.next().await {
                Ok(event) => (Ok(event), Some(listener)),
                Err(error) => (Err(error), None),
            })
        })
        .boxed()
    }
}

impl Listener {
    async fn next(&mut self) -> Result<ContainerEvent, RuntimeError> {
        let next = match self.next {
            Some(next) => next,
            None => self.memory.step(Point::Events, None, |all| Ok(all.log.position(self.since))).await?,
        };
        self.next = Some(next);
        let happened = Arc::clone(&self.memory.containers().log.happened);
        loop {
            // Registered before the looks, so that nothing that comes between is missed.
            let woken: (Notified<'_>, Notified<'_>) = (happened.notified(), self.memory.faults().changed());
            self.memory.faults().pass(Point::Events, When::After).await?;
            let event = self.memory.containers().log.get(next)?;
            if let Some(event) = event {
                self.next = Some(next + 1);
                return Ok(event);
            }
            tokio::select! {
                () = woken.0 => {}
                () = woken.1 => {}
            }
        }
    }
}
