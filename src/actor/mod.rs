//! One actor per sandbox: it alone owns the sandbox's state and its timer.
//!
//! Everything that knows of actix is in this folder; outside of it a sandbox is a [`SandboxHandle`]. The actor performs
//! the effects of the state machine ([`crate::domain::sandbox`]) and feeds their outcomes back as events. It never
//! waits: calls to the engine run on the I/O runtime and come back as messages, so that a ping is answered while a container is being
//! removed. What actix does to an actor (its system ends, a handler panics) ends no sandbox: `stopping` and `stopped` do
//! nothing.

mod arbiters;
mod calls;
mod error;
mod handle;
mod mailbox;
mod messages;
mod pace;
mod registry;
mod sandbox;
mod shared;

pub use arbiters::{Arbiters, SpawnBatch, run_system};
pub use error::RequestError;
pub use handle::SandboxHandle;
pub use messages::Until;
pub use registry::{Entry, Registry, Tombstone};
pub use shared::{Away, Shared};
