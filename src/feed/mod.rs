//! The hub of the status stream ([design: stream](crate::design::stream)): what happens to sandboxes, in one order, for
//! whoever watches.
//!
//! - `event`: one thing that happened, with the sandbox as it is after it;
//! - `hub`: the bounded history that all readers share;
//! - `reader`: one reader's place in it.
//!
//! There are no queues: a reader is a place in the one history, so that a thousand of them cost no more memory than one,
//! resuming is beginning at an older place, and whoever reads too slowly finds its place gone and begins anew. Publishing
//! puts an event at the end and rings a bell; waking the readers is done elsewhere, so that no actor waits for that.
//!
//! A feed that nobody reads sleeps: nothing is remembered, and a ping costs one look at a flag.

mod event;
mod hub;
mod reader;

pub use event::{Change, Event, Standing};
pub use hub::{Feed, Position, TooManyReaders};
pub use reader::{Read, Reader, Subscription};
