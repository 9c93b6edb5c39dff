//! One reader's place in the history.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    event::Event,
    hub::{Entrance, Feed, Position, TooManyReaders},
};

/// How many events a reader takes at once.
const BATCH: usize = 64;

/// A new reader, and how it begins.
#[derive(Debug)]
pub struct Subscription {
    /// The reader.
    pub reader: Reader,
    /// Whether it goes on where it was; otherwise it needs a snapshot first.
    pub resumed: bool,
    /// Whether the feed slept until now: those who publish have to be told that somebody listens.
    pub woken: bool,
}

/// What a reader gets.
#[derive(Debug)]
pub enum Read {
    /// The next events, at least one, without a gap.
    Events(Vec<Arc<Event>>),
    /// It read too slowly, and some events are not here any more; it goes on after the last one, with a new snapshot.
    Lagged {
        /// How many it missed that nobody can give it any more.
        missed: u64,
    },
}

/// Reads the feed from a place on. Dropping it leaves the feed.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    at: Position,
    head: watch::Receiver<u64>,
}

impl Feed {
    /// A new reader, after `since` if the history reaches back so far, else from now on. Wakes the feed.
    ///
    /// # Errors
    /// [`TooManyReaders`].
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

    /// Waits for what comes next. Nothing is lost when it is dropped before it is done.
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

    /// What is there already.
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
