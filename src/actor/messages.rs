//! What is said to an actor.

use actix::Message;
use tokio::sync::oneshot;

use super::handle::{Reply, Until};
use crate::{domain::sandbox::Event, ports::runtime::Started};

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
pub(super) struct Look {
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

/// What a look at a container has shown.
#[derive(Debug)]
pub enum Sight {
    /// It is reached there.
    At(Started),
    /// Somebody has restarted it, and it is reached there.
    Restarted(Started),
    /// It ended by itself.
    Ended {
        /// With this exit code, where one is known.
        code: Option<i64>,
        /// Whether the kernel killed it for memory.
        oom_killed: bool,
        /// The end of what it wrote.
        last_output: Option<String>,
    },
}

/// Somebody has looked at a container.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Seen {
    pub(super) container_id: Option<String>,
    pub(super) sight: Sight,
}

/// The record has to be written anew.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum Rewrite {
    /// Moments have other wall-clock times now, which those who watch have to know.
    WallClockSet,
    /// The store has lost everything.
    StoreReverted,
    /// The store has lost this one.
    RecordLost,
}

/// What tests do to an actor.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum Sabotage {
    Panic,
    LoseTimer,
}
