//! The lanes that keep 1,000 removals from starving one create
//! ([design: bounded calls](crate::design::engine::bounded_calls)).

use tokio::sync::{Semaphore, SemaphorePermit};

/// A place in a lane, given back on drop. The semaphores are never closed, so there is always one inside.
pub(super) type Permit<'a> = Option<SemaphorePermit<'a>>;

/// How many accounts of ends are taken at once: each has an open file.
const ACCOUNTS: usize = 32;

/// What bounds the calls that are on their way at once.
pub(super) struct Pool {
    /// One permit per call. A stop holds its one for as long as the container takes to end, up to the grace time:
    /// that is what a daemon is busy with, too. Waits for readiness and between polls hold none.
    calls: Semaphore,
    /// Removals in progress: fewer than there are calls, so the rest is free for everybody else at any time.
    removals: Semaphore,
    /// Pulls in progress. They take minutes and mostly wait for the network: counted beside the calls, not among them,
    /// or a few slow ones would hold up every stop.
    pulls: Semaphore,
    /// Accounts of ends in progress. Each keeps a stream open for two seconds, and hardly makes a call.
    accounts: Semaphore,
    /// Restarts in progress, each with the probes of its readiness: after an engine was away there are as many as
    /// sandboxes.
    restarts: Semaphore,
}

impl Pool {
    pub(super) fn new(concurrency: usize) -> Self {
        let concurrency = concurrency.max(2);
        let reserve = (concurrency / 4).max(1);
        Self {
            calls: Semaphore::new(concurrency),
            removals: Semaphore::new(concurrency - reserve),
            pulls: Semaphore::new(reserve),
            accounts: Semaphore::new(ACCOUNTS),
            restarts: Semaphore::new(concurrency),
        }
    }

    /// Waits for the right to make one call.
    pub(super) async fn call(&self) -> Permit<'_> {
        self.calls.acquire().await.ok()
    }

    /// Waits for the right to remove one container; each of its calls needs a permit besides.
    pub(super) async fn removal(&self) -> Permit<'_> {
        self.removals.acquire().await.ok()
    }

    /// Waits for the right to take one account of an end.
    pub(super) async fn account(&self) -> Permit<'_> {
        self.accounts.acquire().await.ok()
    }

    /// Waits for the right to start one container again; each of its calls needs a permit besides.
    pub(super) async fn restart(&self) -> Permit<'_> {
        self.restarts.acquire().await.ok()
    }

    /// Waits for the right to pull one image.
    pub(super) async fn pull(&self) -> Permit<'_> {
        self.pulls.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_never_take_every_permit() {
        for concurrency in 0..70 {
            let pool = Pool::new(concurrency);
            let (calls, removals) = (pool.calls.available_permits(), pool.removals.available_permits());
            assert!(removals >= 1 && removals < calls, "{removals} of {calls}");
            assert!(calls == concurrency.max(2) && pool.pulls.available_permits() >= 1);
        }
    }
}
