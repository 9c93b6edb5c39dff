//! Creates that nobody hears the answer of.
//!
//! Only the answer tells an id that the client did not give. When its client goes away before that, nobody can know
//! the sandbox but from a list or the stream: it would only stand around until its idle timeout.

use tokio::sync::watch;
use tracing::info;

use super::requests::{Phase, Supervisor};
use crate::{
    actor::{SandboxHandle, Until},
    domain::{ActivitySource, EndReason, Sandbox, lifecycle::Event},
};

/// A sandbox that its creator is not told of yet. Dropping this ends it, when its start is done: a pull that is under
/// way is not for nothing, and whoever finds the sandbox meanwhile can keep it by using it.
pub(super) struct Unheard<'a> {
    supervisor: &'a Supervisor,
    handle: Option<SandboxHandle>,
}

impl<'a> Unheard<'a> {
    pub(super) fn new(supervisor: &'a Supervisor, handle: &SandboxHandle) -> Self {
        Self { supervisor, handle: Some(handle.clone()) }
    }

    /// The answer is there.
    pub(super) fn heard(mut self) {
        self.handle = None;
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            let end = end_unused(handle, self.supervisor.watch_phase());
            self.supervisor.world.tasks.once("end of what nobody heard of", end);
        }
    }
}

async fn end_unused(handle: SandboxHandle, phase: watch::Receiver<Phase>) {
    // One whose start fails ends by that.
    let Ok(sandbox) = handle.wait(Until::Started).await else { return };
    // A stop ends no sandbox, also not those whose answers it cuts off.
    let stops = *phase.borrow() == Phase::Stopping;
    if !stops && sandbox.life.is_alive() && !is_used(&sandbox) {
        info!(sandbox_id = %sandbox.id(), "its creator went away before it was told the id: it is ended");
        handle.tell(Event::Terminate(EndReason::Requested));
    }
}

/// Whether anybody has used it who did not create it.
fn is_used(sandbox: &Sandbox) -> bool {
    let mut others = ActivitySource::ALL.iter().filter(|source| **source != ActivitySource::Create);
    others.any(|source| sandbox.life.activity_by(*source).count > 0)
}
