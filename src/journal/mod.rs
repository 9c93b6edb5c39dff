//! The journal is the only writer to the store ([design: journal](crate::design::persistence::journal)).
//!
//! Transitions are written through: a [`Ticket`] resolves once the store has them. Activity is written behind: it only changes
//! a number in a shared [`ActivityCell`], and once per flush interval, one commit writes all changed cells. One task does
//! both. It keeps only the newest state of each sandbox, so that an old record never overwrites a newer one, concurrent
//! writes share a round trip, and memory is bounded by the number of sandboxes while the store is down.
//!
//! Write-behind alone would break a promise: if a ping after an hour of silence were acknowledged, a crash before the flush
//! would undo it. So activity is only acknowledged before it is written if the store's last activity is at most a flush
//! interval older ([`Journal::covers`]); a restart adds that interval to each deadline. The first ping after a longer silence
//! waits for its write, which shares a round trip with all others. The store still writes one record per sandbox and flush.

mod cell;
mod inbox;
mod writer;

pub use cell::ActivityCell;
pub use inbox::Ticket;
pub use writer::{Journal, StoreHealth, WriteOutcome};
