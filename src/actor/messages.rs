//! What is said to an actor.

use actix::Message;
use tokio::sync::oneshot;

use super::error::RequestError;
use crate::{
    domain::{Sandbox, sandbox::Event},
    journal::{Journal, Ticket},
};

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The intent to start it is in the store.
    Recorded,
    /// The start is over: it runs, or it failed.
    Started,
    /// No pause or resume is under way.
    Steady,
    /// Its tombstone stands.
    Gone,
}

/// What an actor answers.
pub(super) enum Reply {
    /// It holds.
    Now(Sandbox),
    /// It holds once this is written, or the store is known to be down.
    Once(Sandbox, Ticket, Journal),
    /// It is refused.
    Refused(RequestError),
}

/// Where an answer goes.
pub(super) type Asker = oneshot::Sender<Reply>;

/// Somebody asks for something.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Ask {
    pub(super) event: Event,
    pub(super) reply: Asker,
}

/// Somebody looks.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Snapshot {
    pub(super) reply: Asker,
}

/// Somebody waits.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wait {
    pub(super) until: Until,
    pub(super) reply: Asker,
}

/// Something happened, and nobody waits for an answer.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Tell(pub(super) Event);

/// Something happened to a container.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct News {
    pub(super) container_id: Option<String>,
    pub(super) event: Event,
    /// It cannot be the container that a start has not reported yet.
    pub(super) only_of_record: bool,
}

/// Somebody watches from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Watched;

/// The last message of an actor to itself: everything that was sent before it has been answered.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Farewell;

/// What tests do to an actor.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum Sabotage {
    Panic,
    LoseTimer,
}
