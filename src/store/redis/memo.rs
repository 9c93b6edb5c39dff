//! What this process remembers of the lease between two looks at the server.

use tokio::time::Instant;

/// The lease that this process took last.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// The key's value, byte for byte.
    pub(super) value: String,
    /// Its number; commits are numbered from here on.
    pub(super) epoch: u64,
}

/// What a standby has seen so far.
#[derive(Debug, Default)]
pub(super) enum Vigil {
    /// Nothing yet.
    #[default]
    Fresh,
    /// A lease, and when it runs out unless it is renewed.
    Held { value: String, runs_out: Option<Instant> },
    /// No lease, and nothing that tells why.
    Missing { since: Instant },
    /// The store did not answer: nobody could keep a lease meanwhile.
    Outage,
}
