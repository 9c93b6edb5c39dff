//! What this process remembers of the lease between two calls.

use tokio::time::Instant;

/// The lease that this process holds.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// The key's value, byte for byte.
    pub(super) value: String,
    /// The lease's number; commits are numbered from it on.
    pub(super) epoch: u64,
}

/// What a standby has seen last.
#[derive(Debug, Default)]
pub(super) enum Vigil {
    /// Nothing yet.
    #[default]
    Fresh,
    /// A lease, and when it expires unless it is renewed.
    Held { value: String, runs_out: Option<Instant> },
    /// No lease, for an unknown reason.
    Missing { since: Instant },
    /// No answer from the store, so that no lease could be renewed either.
    Outage,
}
