//! The backstop ([design: backstop](crate::design::time::backstop)): a slow sweep over all actors. In a healthy build it
//! finds nothing. What it finds it continues, counts, and logs as an error.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::timeout;
use tracing::{error, warn};

use super::{
    adopt::LostRecord,
    restore::{Member, Restoration},
    state::Keeper,
};
use crate::{
    actor::{RequestError, SandboxHandle},
    domain::{SandboxId, sandbox::Event},
    loops::repeat,
    ports::store::Stored,
};

/// How many actors are asked at the same time.
const CHUNK: usize = 256;
/// How late a deadline may be before its timer counts as lost: far later than on a busy machine.
const OVERDUE: Duration = Duration::from_secs(2);
/// How long an actor may take to answer before its thread counts as stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Keeper {
    /// Sweeps `sweep_interval` after the last time, and whenever an actor did not answer, until the supervisor stops.
    pub(super) async fn sweep_regularly(self: Arc<Self>) {
        repeat(&self.stop, Duration::ZERO, Some(&self.sandboxes.sweep_now), || async {
            self.sweep().await;
            self.settings.lifecycle.sweep_interval
        })
        .await;
    }

    async fn sweep(&self) {
        // The actors of a thread that has ended are gone, and new ones would be, too.
        if !self.stop.is_cancelled() && !self.sandboxes.arbiters.are_alive() {
            self.shared.tasks.give_up("a thread that actors live on has ended");
            return;
        }
        // Only the ids: the addresses of a million actors take a hundred megabytes. Sorted, since the map's order differs
        // each time, and a test has to be repeatable.
        for chunk in self.shared.registry.ids_after(None, false).chunks(CHUNK) {
            join_all(chunk.iter().map(|id| self.check(id))).await;
        }
    }

    async fn check(&self, id: &SandboxId) {
        let registry = &self.shared.registry;
        let Some(look) = registry.with_live(id, SandboxHandle::snapshot) else { return };
        match timeout(ANSWER_WITHIN, look).await {
            Ok(Ok(sandbox)) => {
                let now = self.shared.clock.now().moment;
                let due = sandbox.next_action().map(|(at, _)| at.plus(OVERDUE));
                if due.is_some_and(|due| due < now) {
                    error!(sandbox_id = %id, "a deadline passed and its timer did not fire; it is driven on");
                    self.shared.metrics.rescued();
                    registry.with_live(id, |handle| handle.tell(Event::TimerFired));
                }
            }
            // It may have ended meanwhile, which is no fault.
            Ok(Err(RequestError::Unanswered)) => {
                if let Some(dead) = registry.handle(id).filter(SandboxHandle::is_dead) {
                    self.replace(id, &dead).await;
                }
            }
            Ok(Err(_)) => {}
            Err(_) => warn!(sandbox_id = %id, "an actor does not answer; its thread may be stuck"),
        }
    }

    /// Restores the sandbox of an actor that panicked from the store, which has its last transition and its activity up to
    /// the last flush. The slack makes up for what was acknowledged since.
    async fn replace(&self, id: &SandboxId, dead: &SandboxHandle) {
        let stored = match self.store.get(id).await {
            Ok(stored) => stored,
            Err(error) => {
                warn!(sandbox_id = %id, %error, "an actor is dead, and its record cannot be read yet");
                return;
            }
        };
        // The id is free from here on, and nobody may take it before the sandbox is restored.
        self.sandboxes.unresolved.insert(id.clone());
        if !self.shared.registry.remove_dead(id, dead) {
            self.sandboxes.unresolved.remove(id);
            return;
        }
        error!(sandbox_id = %id, "an actor died; its sandbox is brought back from the store");
        self.shared.metrics.actor_lost();
        // Repeated after a panic, since nobody else looks after the sandbox now.
        self.shared.tasks.finish("lost actor", |_| self.restore_lost(id, stored.clone())).await;
    }

    async fn restore_lost(&self, id: &SandboxId, stored: Option<Stored>) {
        let fallbacks = self.fallbacks(self.shared.clock.now());
        let member = match stored {
            Some(stored) => self.restore_member(
                stored,
                &fallbacks,
                &mut Restoration::default(),
                &mut self.sandboxes.arbiters.batch(),
            ),
            None => Member::Lost(LostRecord::of_member(id.clone(), f64::NAN, false)),
        };
        match member {
            Member::Restored { .. } | Member::Invalid => _ = self.sandboxes.unresolved.remove(id),
            Member::Lost(record) => self.resolve(record, &fallbacks).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actor::Arbiters,
        app::{Adapters, assemble},
        config::{Overrides, Settings},
        domain::{ActivitySource, Status},
        runtime::Memory,
        sandboxes::Create,
        store::MemoryStore,
        supervisor::Supervisor,
    };

    async fn begun(flags: &[(&str, &str)], store: MemoryStore, runtime: &Memory) -> Arc<Supervisor> {
        let mut overrides = Overrides::default();
        for (key, value) in flags {
            overrides.set(*key, *value, "a test");
        }
        let settings = Settings::load(None, Vec::new(), overrides).unwrap();
        let adapters = Adapters { store: Arc::new(store), runtime: Arc::new(runtime.clone()) };
        let supervisor = assemble(settings, adapters, Arbiters::current());
        supervisor.begin().await.unwrap();
        supervisor
    }

    async fn with_one(flags: &[(&str, &str)], store: MemoryStore, runtime: &Memory) -> (Arc<Supervisor>, SandboxId) {
        tokio::time::pause();
        let (supervisor, id) = (begun(flags, store, runtime).await, SandboxId::parse("one").unwrap());
        supervisor.create(Create { id: Some(id.clone()), ..Create::default() }, true).await.unwrap();
        (supervisor, id)
    }

    #[actix_web::test]
    async fn an_actor_that_died_is_noticed_counted_and_brought_back_with_its_deadline() {
        let (supervisor, id) = with_one(&[], MemoryStore::new(), &Memory::new()).await;
        let promised = supervisor.touch(&id, ActivitySource::Ping).await.unwrap().idle_deadline().unwrap();

        supervisor.shared.registry.handle(&id).unwrap().panic_now();
        // Whoever asks meanwhile has it looked after at once.
        let _ = supervisor.touch(&id, ActivitySource::Ping).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let back = supervisor.get(&id).await.unwrap();
        assert_eq!(back.status(), Status::Running);
        assert!(back.idle_deadline().unwrap().plus(Duration::from_micros(1)) >= promised);
        supervisor.touch(&id, ActivitySource::Ping).await.unwrap();
        let text = supervisor.metrics();
        assert!(text.contains("sandglass_actor_losses_total 1"), "{text}");
        assert!(text.contains("sandglass_sandboxes{status=\"running\"} 1"), "{text}");
        assert!(text.contains("sandglass_sweep_rescues_total 0"), "{text}");
    }

    #[actix_web::test]
    async fn activity_that_a_dead_actor_may_have_lost_counts_after_a_clean_stop() {
        let (store, runtime) = (MemoryStore::new(), Memory::new());
        let (supervisor, id) = with_one(&[], store.clone(), &runtime).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        supervisor.touch(&id, ActivitySource::Ping).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let promised = supervisor.touch(&id, ActivitySource::Ping).await.unwrap().idle_deadline().unwrap();
        let left = promised.since(supervisor.now().moment);
        let acknowledged = tokio::time::Instant::now();

        let handle = || supervisor.shared.registry.handle(&id).unwrap();
        let dead = handle();
        dead.panic_now();
        supervisor.touch(&id, ActivitySource::Ping).await.unwrap_err();
        while handle().is_same(&dead) {
            tokio::task::yield_now().await;
        }
        // The record is written without the ping.
        handle().tell(Event::WallClockSet);
        assert_eq!(supervisor.shutdown(Duration::from_secs(1)).await, 0);
        let supervisor = begun(&[], store.reopen(), &runtime).await;
        let deadline = supervisor.get(&id).await.unwrap().idle_deadline().unwrap();
        let kept = deadline.since(supervisor.now().moment) + acknowledged.elapsed();
        assert!(kept + Duration::from_micros(1) >= left, "{kept:?} of {left:?}");
    }

    #[actix_web::test]
    async fn a_timer_that_was_lost_is_driven_on_and_counted() {
        let flags = [("lifecycle.idle_timeout", "5")];
        let (supervisor, id) = with_one(&flags, MemoryStore::new(), &Memory::new()).await;
        supervisor.shared.registry.handle(&id).unwrap().lose_timer();
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert!(supervisor.get(&id).await.unwrap().is_gone());
        assert!(supervisor.metrics().contains("sandglass_sweep_rescues_total 1"));
    }
}
