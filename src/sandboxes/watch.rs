//! Watches sandboxes: the feed's events, and the snapshots before them.

use std::vec::IntoIter;

use futures_util::future::join_all;

use super::{directory::Sandboxes, list::Filter};
use crate::{
    actor::{RequestError, SandboxHandle},
    domain::{Sandbox, SandboxId},
    feed::{Position, Subscription, TooManyReaders},
};

/// The size of a page of a snapshot. Small, so that a slow reader keeps little in memory.
const PAGE: usize = 100;

/// A snapshot of the matching sandboxes, page by page. Each page is current when it is taken, so events after the beginning
/// of the snapshot have to be applied to it.
#[derive(Debug)]
pub struct Snapshot {
    ids: IntoIter<SandboxId>,
}

impl Sandboxes {
    /// Adds a reader of the feed, which begins after `since` if the history reaches back so far, and now otherwise.
    ///
    /// # Errors
    /// [`RequestError`] while sandboxes are being restored, during a stop, or if `http.max_streams` are open.
    pub fn subscribe(&self, since: Option<&Position>) -> Result<Subscription, RequestError> {
        self.must_be_ready()?;
        let subscription = self.shared.feed.subscribe(since).map_err(|TooManyReaders(most)| {
            RequestError::LimitReached(format!(
                "{most} status streams are open (http.max_streams, or what the limit of open files allows)"
            ))
        })?;
        if subscription.woken {
            self.shared.registry.each_live(SandboxHandle::watched);
        }
        Ok(subscription)
    }

    /// How many events are kept for readers that reconnect.
    pub fn stream_history(&self) -> usize {
        self.shared.feed.capacity()
    }

    /// Counts a reader that has missed events.
    pub fn stream_lagged(&self) {
        self.shared.metrics.stream_lagged();
    }

    /// Begins a snapshot. The position of the reader has to be read before.
    pub fn snapshot(&self, filter: &Filter) -> Snapshot {
        let ids = if filter.ids.is_empty() {
            self.shared.registry.ids(filter.wants_ended())
        } else {
            filter.ids.iter().cloned().collect()
        };
        Snapshot { ids: ids.into_iter() }
    }

    /// Returns the matching sandboxes among the next [`PAGE`] ones. After the last page, [`Snapshot::is_done`] is true.
    pub async fn next_page(&self, snapshot: &mut Snapshot, filter: &Filter) -> Vec<Sandbox> {
        let ids = snapshot.ids.as_slice();
        let page = &ids[..ids.len().min(PAGE)];
        let seen = join_all(page.iter().map(|id| self.peek(id))).await;
        let count = page.len();
        // Moves on only now, so that a page is not lost if this future is dropped.
        snapshot.ids.by_ref().take(count).for_each(drop);
        seen.into_iter().flatten().filter(|sandbox| filter.matches(sandbox)).collect()
    }
}

impl Snapshot {
    /// Whether all pages were taken.
    pub fn is_done(&self) -> bool {
        self.ids.len() == 0
    }
}
