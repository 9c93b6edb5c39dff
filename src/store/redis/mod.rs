//! The Redis store, in the layout of the reference system
//! ([design: redis layout](crate::design::persistence::redis_layout)), so that its data can be taken over in place.
//!
//! | key, under the prefix `P` | holds |
//! |---|---|
//! | `P-session:{id}`, a hash | field `__sandbox__`: the record; other fields are others' |
//! | `P:active`, a sorted set | the ids of those that live, by their last activity |
//! | `P:tombstones`, a sorted set | the ids of those that ended, by when their hash expires |
//! | `P:quarantine`, a hash | bytes that could not be understood, by member |
//! | `P:lease`, a string that expires | who supervises the prefix |
//! | `P:epoch`, `P:sequence`, strings | the number of the last lease, and of the last commit |
//! | `P:stopped`, a string | from a stop to the next start: whose stop, since when, and whether everything was written |
//! | `P:grace`, a string | until a run outlives the grace after a restart: how much of it is used up, in milliseconds |
//! | `P:foreign:{id}` | what stood where a record belongs, renamed aside |
//!
//! Who may write is decided in the server, by the same script that writes. Leases and commits are numbered in one
//! growing sequence that begins at the server's clock, so that it grows even across a server that lost its data. Two
//! things follow: a supervisor that lost its lease while it did not look writes nothing, and a commit that was given up
//! on but reaches the server later, by an old connection, does not overwrite what was written since.
//!
//! Needs one Redis (5 or later) or compatible server, not a cluster.

mod audit;
mod commit;
mod connection;
mod keys;
mod lease;
mod memo;
mod pages;
mod quarantine;
mod script;
mod source;
mod standby;
mod store;

pub use source::TlsFiles;
pub use store::{RedisStore, Settings};
