//! The messages to an actor.

use actix::Message;
use tokio::sync::oneshot;

use super::error::RequestError;
use crate::{
    domain::{Sandbox, sandbox::Event},
    journal::{Journal, Ticket},
};

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The intent to start it is in the store.
    Recorded,
    /// The start is over: it runs, or it failed.
    Started,
    /// No pause or resume is under way.
    Steady,
    /// It is on its way out, or further.
    Ending,
    /// Its tombstone stands.
    Gone,
}

/// What an actor answers.
pub(super) enum Reply {
    /// The answer, which holds.
    Now(Sandbox),
    /// The answer, which holds once this is written or the store is known to be down.
    Once(Sandbox, Ticket, Journal),
    /// A refusal.
    Refused(RequestError),
}

/// Where an answer goes.
pub(super) type Asker = oneshot::Sender<Reply>;

/// A request.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Ask {
    pub(super) event: Event,
    pub(super) reply: Asker,
}

/// Asks for a copy of the sandbox.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Snapshot {
    pub(super) reply: Asker,
}

/// Asks for an answer when something is over.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wait {
    pub(super) until: Until,
    pub(super) reply: Asker,
}

/// An event that nobody waits for.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Tell(pub(super) Event);

/// An event of a container.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct News {
    pub(super) container_id: Option<String>,
    pub(super) event: Event,
    /// Whether it cannot be about the container that a start has not reported yet.
    pub(super) only_of_record: bool,
}

/// Tells that somebody watches from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Watched;

/// An actor's last message to itself: all earlier messages have been answered.
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
