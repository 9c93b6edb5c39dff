//! The keys' names.

/// The field of a sandbox's hash that holds its record.
pub(super) const RECORD_FIELD: &str = "__sandbox__";

/// The keys under one prefix.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) lease: String,
    pub(super) epoch: String,
    pub(super) sequence: String,
    /// The store's unique id.
    pub(super) id: String,
    /// The note of the last holder that released the lease.
    pub(super) stopped: String,
    /// How much of the grace after a restart is used up, in milliseconds.
    pub(super) grace: String,
    pub(super) active: String,
    pub(super) tombstones: String,
    pub(super) quarantine: String,
    /// The prefix of the keys of sandboxes' hashes.
    pub(super) session: String,
    /// The prefix of keys of the wrong type that were renamed to make room for a record.
    pub(super) foreign: String,
}

impl Keys {
    pub(super) fn under(prefix: &str) -> Self {
        Self {
            lease: format!("{prefix}:lease"),
            epoch: format!("{prefix}:epoch"),
            sequence: format!("{prefix}:sequence"),
            id: format!("{prefix}:identity"),
            stopped: format!("{prefix}:stopped"),
            grace: format!("{prefix}:grace"),
            active: format!("{prefix}:active"),
            tombstones: format!("{prefix}:tombstones"),
            quarantine: format!("{prefix}:quarantine"),
            session: format!("{prefix}-session:"),
            foreign: format!("{prefix}:foreign:"),
        }
    }

    /// The key of the hash with a member's record.
    pub(super) fn session_of(&self, member: &[u8]) -> Vec<u8> {
        [self.session.as_bytes(), member].concat()
    }
}
