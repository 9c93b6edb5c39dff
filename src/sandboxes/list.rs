//! Listing sandboxes, page by page.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::directory::Sandboxes;
use crate::{
    actor::Entry,
    domain::{Sandbox, SandboxId, Status},
    feed::{FeedEvent, Standing},
};

/// How many sandboxes are read at the same time.
const CHUNK: usize = 256;

/// A filter for lists and streams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The sandbox has one of these ids; empty for all.
    pub ids: BTreeSet<SandboxId>,
    /// The sandbox has one of these statuses; empty for all that are not gone.
    pub statuses: Vec<Status>,
    /// The sandbox has all of these metadata values.
    pub metadata: Vec<(String, String)>,
}

impl Filter {
    /// Whether a sandbox matches.
    pub fn matches(&self, sandbox: &Sandbox) -> bool {
        self.wants_standing(Standing::of(sandbox)) && self.wants_name_of(sandbox)
    }

    /// Whether an event is of interest, because the sandbox matches after it or did before. For an appearance, nothing is
    /// known of the time before.
    pub fn concerns(&self, event: &FeedEvent) -> bool {
        let wanted = |standing| self.wants_standing(standing);
        let standing = event.after().is_some_and(wanted) || event.before().is_none_or(wanted);
        standing && self.wants_name_of(&event.sandbox)
    }

    /// Whether a sandbox with this id can match.
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

/// Strings are compared by their content, other values by their JSON: `1001` finds `1001` and `"1001"`.
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
    /// The id after which the next page begins; `None` after the last one.
    pub next: Option<SandboxId>,
}

impl Sandboxes {
    /// Returns up to `limit` matching sandboxes whose ids come after `after`.
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

    /// Returns a sandbox unless it is gone in the meantime and its tombstone, too.
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
