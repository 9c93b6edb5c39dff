//! The hub of the status stream ([design: stream](crate::design::stream)): all changes of sandboxes, in one order,
//! for all readers.
//!
//! - `event`: a change, with the sandbox after it;
//! - `hub`: the bounded history that all readers share;
//! - `reader`: a reader's position in it.
//!
//! There are no queues. A reader is a position in the history, so a thousand readers need no more memory than one, a reader
//! resumes at an older position, and a slow reader starts over once its position is gone. Publishing appends an event and
//! notifies a task, which wakes the readers, so that no actor waits for them.
//!
//! A feed without readers sleeps: it keeps no events, and a ping only checks a flag.

mod event;
mod hub;
mod reader;

pub use event::{Change, FeedEvent, Standing};
pub use hub::{Feed, Position, TooManyReaders};
pub use reader::{Read, Reader, Subscription};
