//! The handle of a sandbox's actor, by which the rest of the program uses the sandbox.

use std::sync::Arc;

use actix::Addr;
use tokio::sync::oneshot;

use super::{
    arbiters::{Arbiters, SpawnBatch},
    error::RequestError,
    messages::{Ask, News, Reply, Snapshot, Tell, Until, Wait, Watched},
    sandbox::SandboxActor,
    shared::Shared,
};
use crate::{
    domain::{
        Sandbox,
        sandbox::{Effects, Event},
    },
    journal::WriteOutcome,
    ports::runtime::Start,
};

type Answer = Result<Sandbox, RequestError>;

/// Waits until an actor's answer holds.
async fn answer_of(reply: oneshot::Receiver<Reply>) -> Answer {
    match reply.await {
        Ok(Reply::Now(sandbox)) => Ok(sandbox),
        Ok(Reply::Once(sandbox, mut ticket, journal)) => match journal.outcome(&mut ticket).await {
            WriteOutcome::Stored | WriteOutcome::InMemory => Ok(sandbox),
            WriteOutcome::Refused => Err(RequestError::not_in_charge()),
        },
        Ok(Reply::Refused(refusal)) => Err(refusal),
        Err(_) => Err(RequestError::Unanswered),
    }
}

/// The address of a sandbox's actor. Every message carries its own reply channel, so a client that hangs up loses only the
/// answer.
#[derive(Clone)]
pub struct SandboxHandle {
    addr: Addr<SandboxActor>,
}

impl SandboxHandle {
    /// Starts the actor of `sandbox`, which performs `effects` first. With `start`, it creates the container once the intent
    /// is recorded.
    pub fn spawn(
        shared: &Arc<Shared>,
        arbiters: &Arbiters,
        sandbox: Sandbox,
        effects: Effects,
        start: Option<Start>,
    ) -> Self {
        let actor = SandboxActor::new(shared.clone(), sandbox, effects, start);
        Self { addr: arbiters.batch().add(actor) }
    }

    /// Starts the actor of a restored sandbox, together with all of `batch`.
    pub fn spawn_in(shared: &Arc<Shared>, batch: &mut SpawnBatch<'_>, sandbox: Sandbox, effects: Effects) -> Self {
        Self { addr: batch.add(SandboxActor::new(shared.clone(), sandbox, effects, None)) }
    }

    /// Makes a request. The answer comes when its promise holds: a transition is stored (or the store is down), a pause or
    /// resume is done.
    pub fn ask(&self, event: Event) -> impl Future<Output = Answer> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        self.addr.do_send(Ask { event, reply });
        answer_of(answer)
    }

    /// Whether the actor has ended: it has left, or it died.
    pub fn is_dead(&self) -> bool {
        !self.addr.connected()
    }

    /// Has the actor panic at its next message.
    #[cfg(test)]
    pub fn panic_now(&self) {
        self.addr.do_send(super::messages::Sabotage::Panic);
    }

    /// Has the actor lose its armed timer.
    #[cfg(test)]
    pub fn lose_timer(&self) {
        self.addr.do_send(super::messages::Sabotage::LoseTimer);
    }

    /// Whether both are the address of the same actor.
    pub fn is_same(&self, other: &Self) -> bool {
        self.addr == other.addr
    }

    /// Reports what happened to a container. The actor ignores it unless the container is the sandbox's own, and not that of
    /// an earlier sandbox with the same id.
    pub fn news(&self, container_id: Option<String>, event: Event) {
        self.addr.do_send(News { container_id, event, only_of_record: false });
    }

    /// Like [`Self::news`], but ignored unless the record names this container already.
    pub fn news_of_record(&self, container_id: Option<String>, event: Event) {
        self.addr.do_send(News { container_id, event, only_of_record: true });
    }

    /// Sends an event that nobody waits for.
    pub fn tell(&self, event: Event) {
        self.addr.do_send(Tell(event));
    }

    /// Tells it that somebody watches the feed.
    pub fn watched(&self) {
        self.addr.do_send(Watched);
    }

    /// A copy of the sandbox as it is now.
    pub fn snapshot(&self) -> impl Future<Output = Answer> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        self.addr.do_send(Snapshot { reply });
        answer_of(answer)
    }

    /// Waits until something is over. Dropping the future ends the wait and nothing else.
    pub fn wait(&self, until: Until) -> impl Future<Output = Answer> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        self.addr.do_send(Wait { until, reply });
        answer_of(answer)
    }
}
