//! Limits of concurrency, so that 1,000 removals do not starve one create
//! ([design: bounded calls](crate::design::engine::bounded_calls)).

use tokio::sync::{Semaphore, SemaphorePermit};

/// A permit, given back on drop. Always `Some`, since the semaphores are never closed.
pub(super) type Permit<'a> = Option<SemaphorePermit<'a>>;

/// How many ends may be investigated at once; each keeps a file open.
const ACCOUNTS: usize = 32;

/// The semaphores.
pub(super) struct Pool {
    /// One permit per call. A stop holds its permit until the container has ended, which keeps the engine busy for as long.
    /// Waiting for readiness or between polls takes none.
    calls: Semaphore,
    /// Removals in progress: fewer than calls, so that some calls are always left for others.
    removals: Semaphore,
    /// Pulls in progress. They take minutes, mostly for the network, and so are not among the calls: a few slow pulls would
    /// delay every stop.
    pulls: Semaphore,
    /// Investigations of ends in progress. Each keeps a stream open for two seconds and makes few calls.
    accounts: Semaphore,
    /// Restarts in progress, including their readiness probes. After an outage of the engine, every sandbox may need one.
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

    /// Waits for a permit for one call.
    pub(super) async fn call(&self) -> Permit<'_> {
        self.calls.acquire().await.ok()
    }

    /// Waits for a permit for one removal; each of its calls needs its own.
    pub(super) async fn removal(&self) -> Permit<'_> {
        self.removals.acquire().await.ok()
    }

    /// Waits for a permit to investigate one end.
    pub(super) async fn account(&self) -> Permit<'_> {
        self.accounts.acquire().await.ok()
    }

    /// Waits for a permit for one restart; each of its calls needs its own.
    pub(super) async fn restart(&self) -> Permit<'_> {
        self.restarts.acquire().await.ok()
    }

    /// Waits for a permit for one pull.
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
