//! Bytes that move are use, however long they take.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    domain::{ActivitySource, SandboxId},
    sandboxes::Sandboxes,
};

/// How often bytes that move count as use again.
const USED_AGAIN: Duration = Duration::from_secs(1);

/// Counts as use of a sandbox what moves in or out of it. What it begins with was counted already.
#[derive(Clone)]
pub(super) struct Meter {
    sandboxes: Arc<Sandboxes>,
    sandbox: SandboxId,
    source: ActivitySource,
    used: Instant,
}

impl Meter {
    pub(super) fn new(sandboxes: Arc<Sandboxes>, sandbox: SandboxId, source: ActivitySource) -> Self {
        Self { sandboxes, sandbox, source, used: Instant::now() }
    }

    /// Bytes have moved.
    pub(super) async fn moved(&mut self) {
        if self.used.elapsed() >= USED_AGAIN {
            self.used = Instant::now();
            // Of a sandbox that ends, the connection is about to break.
            let _ = self.sandboxes.touch(&self.sandbox, self.source).await;
        }
    }
}
