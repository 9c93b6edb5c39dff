//! How many files the process may have open, and what for. Every connection takes one, and so do the calls to the engine
//! and to the store; those must never want for one because of connections.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the process needs for itself: listeners, the threads' own, the store, the log.
const OWN: usize = 64;
/// More connections than this per worker are of no use.
const MOST_PER_WORKER: usize = 25_600;

/// What is to be shared out.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Calls to the engine at the same time.
    pub calls: usize,
    /// Creates at the same time; each may ask its container whether it is ready.
    pub creates: usize,
    /// Status streams that the configuration allows.
    pub streams: usize,
    /// Threads that serve connections.
    pub workers: usize,
}

/// How many of each there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Connections of clients, streams among them.
    pub connections: usize,
    /// Status streams.
    pub streams: usize,
}

/// Raises the soft limit to the hard one, and returns what holds then. A limit that cannot be raised stays as it is.
///
/// # Errors
/// When the system does not tell.
pub fn raise_limit() -> io::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Ok(usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX))
}

impl Share {
    /// What `limit` open files are enough for. At most half of the connections are streams: the others are left to
    /// clients that ping.
    pub fn of(limit: usize, demand: Demand) -> Self {
        let reserve = demand.calls.saturating_add(demand.creates).saturating_add(OWN).min(limit / 2);
        let most = MOST_PER_WORKER.saturating_mul(demand.workers.max(1));
        let connections = (limit - reserve).clamp(1, most);
        Self { connections, streams: demand.streams.min(connections / 2).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Demand = Demand { calls: 16, creates: 16, streams: 1024, workers: 2 };

    #[test]
    fn streams_leave_half_of_the_connections_to_others_and_connections_leave_files_to_the_rest() {
        assert_eq!(Share::of(256, DEFAULT), Share { connections: 160, streams: 80 });
        assert_eq!(Share::of(1024, DEFAULT), Share { connections: 928, streams: 464 });
        assert_eq!(Share::of(1 << 20, DEFAULT), Share { connections: 51_200, streams: 1024 });
        assert_eq!(Share::of(usize::MAX, DEFAULT).streams, 1024);
    }

    #[test]
    fn even_a_limit_that_is_far_too_low_leaves_some_of_everything() {
        for limit in [0, 1, 2, 16, 100] {
            let Share { connections, streams } = Share::of(limit, Demand { creates: 10_000, ..DEFAULT });
            assert!(connections >= 1 && streams >= 1 && connections <= (limit - limit / 2).max(1), "{limit}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let limit = raise_limit().unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, usize::try_from(soft).unwrap_or(usize::MAX)), (hard, limit));
    }
}
