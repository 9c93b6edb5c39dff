//! Events of the feed.

use std::sync::OnceLock;

use bytestring::ByteString;

pub use crate::domain::sandbox::Change;
use crate::domain::{Now, Sandbox, Status, sandbox::End};

/// The longest text, in bytes, that is kept for other readers. Longer ones are written anew for each reader, so that the
/// history is bounded in bytes, too.
const KEPT_TEXT: usize = 4096;

/// The status of a sandbox, as filters see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The public status.
    pub status: Status,
    /// Whether it is a tombstone.
    pub gone: bool,
}

impl Standing {
    /// The standing of `sandbox`.
    pub fn of(sandbox: &Sandbox) -> Self {
        Self { status: sandbox.status(), gone: sandbox.is_gone() }
    }
}

/// One change, with the sandbox after it.
#[derive(Debug)]
pub struct FeedEvent {
    /// Its number in the order of all events of the epoch.
    pub seq: u64,
    /// When it happened.
    pub at: Now,
    /// What changed.
    pub change: Change,
    /// The sandbox after the change.
    pub sandbox: Sandbox,
    text: OnceLock<ByteString>,
}

impl FeedEvent {
    pub(super) fn new(seq: u64, at: Now, change: Change, sandbox: Sandbox) -> Self {
        Self { seq, at, change, sandbox, text: OnceLock::new() }
    }

    /// The sandbox's standing before; `None` if it was not known.
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

    /// Its standing now; `None` if it was forgotten.
    pub fn after(&self) -> Option<Standing> {
        (self.change != Change::Forgotten).then(|| Standing::of(&self.sandbox))
    }

    /// The event as a text, which `write` creates once for all readers.
    pub fn text(&self, write: impl FnOnce(&Self) -> ByteString) -> ByteString {
        if let Some(text) = self.text.get() {
            return text.clone();
        }
        let text = write(self);
        if text.len() <= KEPT_TEXT {
            // Another reader may have been faster, with the same text.
            let _ = self.text.set(text.clone());
        }
        text
    }
}
