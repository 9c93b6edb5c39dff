//! A reader's position in the history.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    event::FeedEvent,
    hub::{Entrance, Feed, Position, TooManyReaders},
};

/// The most events that a reader takes at once.
const BATCH: usize = 64;

/// A new reader.
#[derive(Debug)]
pub struct Subscription {
    /// The reader.
    pub reader: Reader,
    /// Whether it continues at its earlier position. Otherwise it needs a snapshot first.
    pub resumed: bool,
    /// Whether it has woken the feed, so that publishers have to be told.
    pub woken: bool,
}

/// What a reader receives.
#[derive(Debug)]
pub enum Read {
    /// The next events, at least one, without a gap.
    Events(Vec<Arc<FeedEvent>>),
    /// The reader was too slow and some events were dropped. It continues after the last event, with a new snapshot.
    Lagged {
        /// The number of dropped events.
        missed: u64,
    },
}

/// Reads the feed from a position on. Leaves the feed on drop.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    at: Position,
    head: watch::Receiver<u64>,
}

impl Feed {
    /// Adds a reader that begins after `since` if the history reaches back so far, else at the end. Wakes the feed.
    ///
    /// # Errors
    /// [`TooManyReaders`] when the limit is reached.
    pub fn subscribe(self: &Arc<Self>, since: Option<&Position>) -> Result<Subscription, TooManyReaders> {
        let Entrance { at, head, resumed, woken } = self.enter(since)?;
        Ok(Subscription { reader: Reader { feed: self.clone(), at, head }, resumed, woken })
    }
}

impl Reader {
    /// The last event that was read.
    pub fn position(&self) -> &Position {
        &self.at
    }

    /// Waits for the next events. Cancel-safe.
    pub async fn next(&mut self) -> Read {
        loop {
            self.head.mark_unchanged();
            if let Some(read) = self.take() {
                return read;
            }
            // The sender lives as long as the feed, which this holds.
            let _ = self.head.changed().await;
        }
    }

    /// Takes the next events if there are any.
    pub fn take(&mut self) -> Option<Read> {
        match self.feed.after(self.at.seq, BATCH) {
            Ok(events) => {
                self.at.seq = events.last()?.seq;
                Some(Read::Events(events))
            }
            Err(missed) => {
                self.at.seq = self.feed.head();
                Some(Read::Lagged { missed })
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.feed.left();
    }
}
