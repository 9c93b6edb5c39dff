//! A sandbox as the rest of the program sees it: something that can be asked.

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

/// What an actor has answered, when it holds.
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

/// The address of a sandbox's actor. Every message carries its own reply channel, so that a client who hangs up loses
/// the answer and never the message.
#[derive(Clone)]
pub struct SandboxHandle {
    addr: Addr<SandboxActor>,
}

impl SandboxHandle {
    /// Starts the actor of `sandbox`, whose first thing to do is `effects`; with `start`, once its intent is recorded, the
    /// container is made.
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

    /// The same for a sandbox that was there before, started with all of `batch`.
    pub fn spawn_in(shared: &Arc<Shared>, batch: &mut SpawnBatch<'_>, sandbox: Sandbox, effects: Effects) -> Self {
        Self { addr: batch.add(SandboxActor::new(shared.clone(), sandbox, effects, None)) }
    }

    /// Asks for something. The answer comes when the lifecycle's promise about it holds: a transition is stored (or the
    /// store is down), a pause or resume is done.
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

    /// Tells what happened to a container; it counts only if that is the sandbox's own, not one of an earlier sandbox of
    /// the same id.
    pub fn news(&self, container_id: Option<String>, event: Event) {
        self.addr.do_send(News { container_id, event, only_of_record: false });
    }

    /// [`Self::news`], which counts only if its record names this container already.
    pub fn news_of_record(&self, container_id: Option<String>, event: Event) {
        self.addr.do_send(News { container_id, event, only_of_record: true });
    }

    /// Tells what happened to its container.
    pub fn tell(&self, event: Event) {
        self.addr.do_send(Tell(event));
    }

    /// Has its record written anew, since moments have other wall-clock times now.
    pub fn wall_clock_set(&self) {
        self.tell(Event::WallClockSet);
    }

    /// Has its record written anew, since the store has lost everything.
    pub fn rewrite(&self) {
        self.tell(Event::StoreReverted);
    }

    /// Has its record written anew, if it should have one and the store has lost just that.
    pub fn record_lost(&self) {
        self.tell(Event::RecordLost);
    }

    /// Somebody watches the feed from now on.
    pub fn watched(&self) {
        self.addr.do_send(Watched);
    }

    /// A copy of it as it is now.
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
