//! One thing that happened.

use std::sync::OnceLock;

use bytestring::ByteString;

pub use crate::domain::sandbox::Change;
use crate::domain::{Now, Sandbox, Status, sandbox::End};

/// Texts up to this many bytes are kept for other readers. What is longer, since its owner had much to remember, each has
/// written anew: the history is bounded in bytes, too.
const KEPT_TEXT: usize = 4096;

/// What a filter looks at besides the name: the status, and whether the container is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The public status.
    pub status: Status,
    /// Whether it is a tombstone.
    pub gone: bool,
}

impl Standing {
    /// Where `sandbox` stands.
    pub fn of(sandbox: &Sandbox) -> Self {
        Self { status: sandbox.status(), gone: sandbox.is_gone() }
    }
}

/// One thing that happened, with the sandbox as it is after it.
#[derive(Debug)]
pub struct Event {
    /// Its place in the order of all events of the epoch.
    pub seq: u64,
    /// When.
    pub at: Now,
    /// What.
    pub change: Change,
    /// To which sandbox, as it now is.
    pub sandbox: Sandbox,
    text: OnceLock<ByteString>,
}

impl Event {
    pub(super) fn new(seq: u64, at: Now, change: Change, sandbox: Sandbox) -> Self {
        Self { seq, at, change, sandbox, text: OnceLock::new() }
    }

    /// Where the sandbox stood before; `None`: it was not known.
    pub fn before(&self) -> Option<Standing> {
        let now = Standing::of(&self.sandbox);
        match self.change {
            Change::Appeared => None,
            Change::Status { from } => Some(Standing { status: from, gone: false }),
            Change::Removed => {
                let end = self.sandbox.end();
                Some(Standing { status: end.map_or(now.status, End::status_while_ending), gone: false })
            }
            _ => Some(now),
        }
    }

    /// Where it stands now; `None`: nothing is left of it.
    pub fn after(&self) -> Option<Standing> {
        (self.change != Change::Forgotten).then(|| Standing::of(&self.sandbox))
    }

    /// The event as a text, written by `write` for the first who asks and shared by all others.
    pub fn text(&self, write: impl FnOnce(&Self) -> ByteString) -> ByteString {
        if let Some(text) = self.text.get() {
            return text.clone();
        }
        let text = write(self);
        if text.len() <= KEPT_TEXT {
            // Somebody else may have been faster, with the same text.
            let _ = self.text.set(text.clone());
        }
        text
    }
}
