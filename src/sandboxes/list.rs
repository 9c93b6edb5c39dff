//! Listing sandboxes, page by page.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::directory::Sandboxes;
use crate::{
    actor::Entry,
    domain::{Sandbox, SandboxId, Status},
    feed::{FeedEvent, Standing},
};

/// How many sandboxes are asked at the same time.
const CHUNK: usize = 256;

/// What a list or a stream shall contain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Any of these; empty: all.
    pub ids: BTreeSet<SandboxId>,
    /// Any of these; empty: all that are not gone.
    pub statuses: Vec<Status>,
    /// All of these metadata values.
    pub metadata: Vec<(String, String)>,
}

impl Filter {
    /// Whether a sandbox is wanted.
    pub fn matches(&self, sandbox: &Sandbox) -> bool {
        self.wants_standing(Standing::of(sandbox)) && self.wants_name_of(sandbox)
    }

    /// Whether an event is of interest: the sandbox is wanted now, or was before it. What an earlier appearance of a
    /// sandbox was, nobody knows.
    pub fn concerns(&self, event: &FeedEvent) -> bool {
        let wanted = |standing| self.wants_standing(standing);
        let standing = event.after().is_some_and(wanted) || event.before().is_none_or(wanted);
        standing && self.wants_name_of(&event.sandbox)
    }

    /// Whether a sandbox of this id may be wanted.
    pub(super) fn wants_id(&self, id: &SandboxId) -> bool {
        self.ids.is_empty() || self.ids.contains(id)
    }

    fn wants_standing(&self, standing: Standing) -> bool {
        if self.statuses.is_empty() { !standing.gone } else { self.statuses.contains(&standing.status) }
    }

    fn wants_name_of(&self, sandbox: &Sandbox) -> bool {
        self.wants_id(sandbox.id()) && self.metadata.iter().all(|(key, value)| has_metadata(sandbox, key, value))
    }

    pub(super) fn wants_ended(&self) -> bool {
        self.statuses.iter().any(|status| matches!(status, Status::Failed | Status::Succeeded | Status::Terminated))
    }
}

/// Texts are compared by what they say, everything else by how it is written: `1001` finds `1001` and `"1001"`.
fn has_metadata(sandbox: &Sandbox, key: &str, value: &str) -> bool {
    sandbox.details.metadata.get(key).is_some_and(|raw| {
        raw.get() == value || serde_json::from_str::<String>(raw.get()).is_ok_and(|text| text == value)
    })
}

/// A page of a list, in the order of ids.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The sandboxes.
    pub sandboxes: Vec<Sandbox>,
    /// The id after which the next page begins; `None`: this was the last one.
    pub next: Option<SandboxId>,
}

impl Sandboxes {
    /// Up to `limit` sandboxes after `after` that match.
    pub async fn list(&self, filter: &Filter, after: Option<&SandboxId>, limit: usize) -> Listing {
        let ids = self.shared.registry.ids_after(after, filter.wants_ended());
        let mut sandboxes: Vec<Sandbox> = Vec::new();
        for chunk in ids.chunks(CHUNK) {
            let seen = join_all(chunk.iter().map(|id| self.peek(id))).await;
            for sandbox in seen.into_iter().flatten().filter(|sandbox| filter.matches(sandbox)) {
                if sandboxes.len() == limit {
                    let next = sandboxes.last().map(|sandbox| sandbox.id().clone());
                    return Listing { sandboxes, next };
                }
                sandboxes.push(sandbox);
            }
        }
        Listing { sandboxes, next: None }
    }

    /// A sandbox, unless it has left meanwhile and nothing of it is readable.
    pub(super) async fn peek(&self, id: &SandboxId) -> Option<Sandbox> {
        match self.shared.registry.get(id, self.shared.clock.now().moment)? {
            Entry::Live(handle) => match handle.snapshot().await {
                Ok(sandbox) => Some(sandbox),
                Err(_) => self.get(id).await.ok(),
            },
            Entry::Ended(tombstone) => Some(Sandbox::clone(&tombstone.sandbox)),
        }
    }
}
