//! Shares out the limit of open files. Every connection takes one, and so do calls to the engine and the store, which must
//! never fail because of too many connections.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the process needs for itself: listeners, threads, the store, the log.
const OWN: usize = 64;
/// More connections than this per worker are useless.
const MOST_PER_WORKER: usize = 25_600;

/// What needs open files.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Concurrent calls to the engine.
    pub calls: usize,
    /// Concurrent creates; each may probe its container.
    pub creates: usize,
    /// The configured maximum of status streams.
    pub streams: usize,
    /// Threads that serve connections.
    pub workers: usize,
}

/// The maximum of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Connections of clients, including streams. At most half of them are occupied by streams and by requests for the inside
    /// of sandboxes.
    pub connections: usize,
    /// Status streams.
    pub streams: usize,
}

/// Raises the soft limit to the hard one if possible, and returns the limit that now holds.
///
/// # Errors
/// When the limit cannot be read.
pub fn raise_limit() -> io::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Ok(usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX))
}

impl Share {
    /// Shares out `limit` open files. At most half of the connections are streams; the rest is for clients that ping. Requests
    /// for the inside of a sandbox may need a connection to the engine each, for which there are half as many files more.
    pub fn of(limit: usize, demand: Demand) -> Self {
        let reserve = demand.calls.saturating_add(demand.creates).saturating_add(OWN).min(limit / 2);
        let most = MOST_PER_WORKER.saturating_mul(demand.workers.max(1));
        let rest = limit - reserve;
        let connections = (rest - rest / 3).clamp(1, most);
        Self { connections, streams: demand.streams.min(connections / 2).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Demand = Demand { calls: 16, creates: 16, streams: 1024, workers: 2 };

    #[test]
    fn streams_leave_half_of_the_connections_to_others_and_connections_leave_files_to_the_rest() {
        assert_eq!(Share::of(256, DEFAULT), Share { connections: 107, streams: 53 });
        assert_eq!(Share::of(1024, DEFAULT), Share { connections: 619, streams: 309 });
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
