//! Creates whose client goes away before the answer.
//!
//! If the client gave no id, only the answer tells it. A client that goes away before that can find the sandbox only in a
//! list or in the stream, so it would waste its idle timeout.

use tokio::sync::watch;
use tracing::info;

use super::{directory::Sandboxes, health::ServingPhase};
use crate::{
    actor::{SandboxHandle, Until},
    domain::sandbox::Event,
};

/// A sandbox whose creator has not been told its id. Dropping this ends the sandbox after its start: the pull of its image
/// is not wasted, and a client that found the sandbox in the meantime can keep it by using it.
pub(super) struct Unheard<'a> {
    sandboxes: &'a Sandboxes,
    handle: Option<SandboxHandle>,
}

impl<'a> Unheard<'a> {
    pub(super) fn new(sandboxes: &'a Sandboxes, handle: &SandboxHandle) -> Self {
        Self { sandboxes, handle: Some(handle.clone()) }
    }

    /// The answer was sent.
    pub(super) fn heard(mut self) {
        self.handle = None;
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            let end = end_unused(handle, self.sandboxes.health().watch_phase());
            self.sandboxes.shared.tasks.once("end of what nobody heard of", end);
        }
    }
}

async fn end_unused(handle: SandboxHandle, phase: watch::Receiver<ServingPhase>) {
    // A sandbox whose start fails ends anyway.
    let Ok(sandbox) = handle.wait(Until::Started).await else { return };
    // A stop of Sandglass ends no sandbox, even if it cuts off the answer.
    if *phase.borrow() == ServingPhase::Stopping {
        return;
    }
    // Only the actor knows whether it is in use, since the state above may be older than the last ping.
    if handle.ask(Event::CreatorGone).await.is_ok_and(|asked| !asked.is_alive()) {
        info!(sandbox_id = %sandbox.id(), "its creator went away before it was told the id: it is ended");
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::Arc, time::Duration};

    use futures_util::poll;

    use super::*;
    use crate::{
        actor::Arbiters,
        app::{Adapters, assemble},
        config::{Overrides, Settings},
        domain::{ActivitySource, SandboxId, Status},
        runtime::{
            Memory,
            memory::{Point, When},
        },
        sandboxes::Create,
        store::MemoryStore,
    };

    #[actix_web::test]
    async fn a_ping_between_the_end_of_the_start_and_the_decision_keeps_what_nobody_heard_of() {
        let settings = Settings::load(None, Vec::new(), Overrides::default()).unwrap();
        let runtime = Memory::new();
        let adapters = Adapters { store: Arc::new(MemoryStore::new()), runtime: Arc::new(runtime.clone()) };
        let supervisor = assemble(settings, adapters, Arbiters::current());
        supervisor.begin().await.unwrap();
        runtime.hang(Point::Ready, When::Before);
        let id = SandboxId::parse("unheard").unwrap();
        supervisor.create(Create { id: Some(id.clone()), ..Create::default() }, false).await.unwrap();
        let handle = supervisor.shared.registry.with_live(&id, SandboxHandle::clone).unwrap();
        let mut end = pin!(end_unused(handle.clone(), supervisor.health().watch_phase()));
        assert!(poll!(&mut end).is_pending(), "it is being started");
        runtime.heal(Point::Ready);
        handle.wait(Until::Started).await.unwrap();
        supervisor.touch(&id, ActivitySource::Ping).await.unwrap();
        end.await;
        assert_eq!(supervisor.get(&id).await.unwrap().status(), Status::Running);
    }

    /// The id that is derived from an idempotency key tells its client nothing before the answer.
    #[actix_web::test]
    async fn a_client_that_goes_away_knows_the_id_that_it_gave_and_no_other() {
        tokio::time::pause();
        let settings = Settings::load(None, Vec::new(), Overrides::default()).unwrap();
        let runtime = Memory::new();
        let adapters = Adapters { store: Arc::new(MemoryStore::new()), runtime: Arc::new(runtime.clone()) };
        let supervisor = assemble(settings, adapters, Arbiters::current());
        supervisor.begin().await.unwrap();
        runtime.set_latency_of(Point::Ready, Duration::from_secs(10));
        for unannounced in [false, true] {
            let id = SandboxId::parse(&format!("unannounced-{unannounced}")).unwrap();
            let create = Create { id: Some(id.clone()), unannounced, ..Create::default() };
            let dropped = tokio::time::timeout(Duration::from_secs(5), supervisor.create(create, true)).await;
            assert!(dropped.is_err(), "it is being started");
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(supervisor.get(&id).await.unwrap().is_gone(), unannounced, "{id}");
        }
    }
}
