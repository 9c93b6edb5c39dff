//! The supervisor: creates, finds, lists and rehydrates sandboxes. It owns no timer and no state of theirs; whatever
//! concerns one sandbox is a message to its actor.

mod adopt;
mod audit;
mod create;
mod events;
mod grace;
mod hand_over;
mod health;
mod lease;
mod list;
mod plan;
mod reconcile;
mod rehydrate;
mod rejection;
mod requests;
mod strangers;
mod sweep;
mod unheard;
mod watch;

pub use create::{Create, Created};
pub use health::RuntimeHealth;
pub use list::{Filter, Listing};
pub use plan::{LEAST_TIMEOUT, MAX_PORTS};
pub use rehydrate::Restoration;
pub use rejection::Rejection;
pub use requests::{Phase, Supervisor, SupervisorParts};
pub use watch::Snapshot;
