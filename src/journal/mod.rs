//! The journal: the one writer in front of the store ([design: journal](crate::design::persistence::journal)).
//!
//! Transitions are written through: a [`Ticket`] resolves once the store has them. Activity is written behind: it only
//! moves a number in a shared [`ActivityCell`], and every flush interval the cells that moved are written in one commit.
//! Both go through one task, which keeps the newest state of each sandbox and nothing else: an older record never
//! overwrites a newer, what waits at the same moment shares one round trip, and while the store is down memory is
//! bounded by the number of sandboxes.
//!
//! Write-behind alone would break a promise: a sandbox that was quiet for an hour is pinged, the ping is acknowledged, and
//! a crash before the flush takes the hour back. So activity is only acknowledged ahead of the store when what the store
//! has is at most a flush interval older ([`Journal::covers`]), which is what a restart adds to each deadline. The first
//! ping after a longer silence waits for its write, in one round trip with all others that wait. The store's work is the
//! same: one record per sandbox and flush.

mod cell;
mod inbox;
mod writer;

pub use cell::ActivityCell;
pub use inbox::Ticket;
pub use writer::{Journal, StoreHealth, WriteOutcome};
