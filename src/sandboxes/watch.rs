//! Watching all sandboxes: the feed's events, and the snapshots that they begin from.

use std::vec::IntoIter;

use futures_util::future::join_all;

use super::{directory::Sandboxes, list::Filter};
use crate::{
    actor::{RequestError, SandboxHandle},
    domain::{Sandbox, SandboxId},
    feed::{Position, Subscription, TooManyReaders},
};

/// How many sandboxes a page of a snapshot has at most: small enough that a reader who does not take it holds little.
const PAGE: usize = 100;

/// All sandboxes that a filter wants, page by page. It shows each as it is when its page is taken, so every event after
/// the place at which it was begun is to be applied on top.
#[derive(Debug)]
pub struct Snapshot {
    ids: IntoIter<SandboxId>,
}

impl Sandboxes {
    /// A reader of the feed, after `since` if its history reaches back so far, else from now on.
    ///
    /// # Errors
    /// [`RequestError`], while not all sandboxes are known, when it stops, or when `http.max_streams` are open.
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

    /// How many events a reader that reconnects can have missed.
    pub fn stream_history(&self) -> usize {
        self.shared.feed.capacity()
    }

    /// Counts a reader that has missed events.
    pub fn stream_lagged(&self) {
        self.shared.metrics.stream_lagged();
    }

    /// Begins a snapshot. Its place in the order of events is one that was read before this.
    pub fn snapshot(&self, filter: &Filter) -> Snapshot {
        let ids = if filter.ids.is_empty() {
            self.shared.registry.ids(filter.wants_ended())
        } else {
            filter.ids.iter().cloned().collect()
        };
        Snapshot { ids: ids.into_iter() }
    }

    /// The next page of a snapshot: what it wants of the next [`PAGE`] sandboxes. The last one is that after which
    /// [`Snapshot::is_done`].
    pub async fn next_page(&self, snapshot: &mut Snapshot, filter: &Filter) -> Vec<Sandbox> {
        let ids = snapshot.ids.as_slice();
        let page = &ids[..ids.len().min(PAGE)];
        let seen = join_all(page.iter().map(|id| self.peek(id))).await;
        let count = page.len();
        // Only now: whoever drops this half-way finds the page again.
        snapshot.ids.by_ref().take(count).for_each(drop);
        seen.into_iter().flatten().filter(|sandbox| filter.matches(sandbox)).collect()
    }
}

impl Snapshot {
    /// Whether every page was taken.
    pub fn is_done(&self) -> bool {
        self.ids.len() == 0
    }
}
