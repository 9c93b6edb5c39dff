//! Which sandboxes a snapshot is being taken of.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dashmap::DashMap;
use tokio::sync::watch;

use crate::domain::SandboxId;

/// The snapshots that are being taken. A container is frozen while its files are copied, although its sandbox is not paused.
#[derive(Default)]
pub(crate) struct UnderWay {
    /// Closed when it is done.
    sandboxes: DashMap<SandboxId, watch::Receiver<()>>,
    /// How many snapshots there were when they were last counted.
    known: AtomicUsize,
}

/// A snapshot that is being taken; it is done when this is dropped.
pub(super) struct Taking {
    under_way: Arc<UnderWay>,
    sandbox: SandboxId,
    _done: watch::Sender<()>,
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.under_way.sandboxes.remove(&self.sandbox);
    }
}

impl UnderWay {
    /// Begins, unless one of the same sandbox is under way.
    pub(super) fn begin(self: &Arc<Self>, sandbox: &SandboxId) -> Option<Taking> {
        let (sender, receiver) = watch::channel(());
        match self.sandboxes.entry(sandbox.clone()) {
            dashmap::Entry::Occupied(_) => None,
            dashmap::Entry::Vacant(free) => {
                free.insert(receiver);
                Some(Taking { under_way: self.clone(), sandbox: sandbox.clone(), _done: sender })
            }
        }
    }

    /// Whether one of this sandbox is under way.
    pub(crate) fn includes(&self, sandbox: &SandboxId) -> bool {
        self.sandboxes.contains_key(sandbox)
    }

    /// Waits until none of this sandbox is under way.
    pub(super) async fn over(&self, sandbox: &SandboxId) {
        loop {
            let Some(mut taking) = self.sandboxes.get(sandbox).map(|taking| taking.clone()) else { return };
            // The sender sends nothing: this ends when it is dropped.
            while taking.changed().await.is_ok() {}
        }
    }

    pub(super) fn known(&self) -> usize {
        self.known.load(Ordering::Relaxed)
    }

    /// Notes how many there are.
    pub(crate) fn count(&self, known: usize) {
        self.known.store(known, Ordering::Relaxed);
    }
}
