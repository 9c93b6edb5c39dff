//! Requests: to create, find, list, watch, use and end sandboxes. Background work is in [`crate::keeper`].

mod ask;
mod connect;
mod create;
mod directory;
mod health;
mod list;
mod plan;
mod snapshots;
mod under_way;
mod unheard;
mod walls;
mod watch;

pub use crate::actor::RequestError;
pub use connect::Connected;
pub use create::Created;
pub use directory::Sandboxes;
pub use health::{Health, RuntimeHealth, ServingPhase};
pub use list::{Filter, Listing};
pub use plan::{Create, MAX_PORTS};
pub use snapshots::{MOST_FORKS, SnapshotRequest};
pub use watch::Snapshot;
