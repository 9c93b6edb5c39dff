//! What runs by itself: it keeps the lease, restores sandboxes, and compares them with the engine and the store.

mod absence;
mod adopt;
mod audit;
mod engine;
mod events;
mod grace;
mod hand_over;
mod housekeeping;
mod lease;
mod reconcile;
mod restore;
mod run;
mod snapshots;
mod state;
mod strangers;
mod sweep;

pub use restore::Restoration;
pub use state::Keeper;
