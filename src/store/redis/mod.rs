//! The Redis store, in the layout of the reference system
//! ([design: redis layout](crate::design::persistence::redis_layout)), so that its data can be taken over in place.
//!
//! | key, under the prefix `P` | holds |
//! |---|---|
//! | `P-session:{id}`, a hash | field `__sandbox__`: the record; other fields belong to other programs |
//! | `P:active`, a sorted set | the ids of living sandboxes, by their last activity |
//! | `P:tombstones`, a sorted set | the ids of ended sandboxes, by the expiry of their hash |
//! | `P:quarantine`, a hash | bytes that could not be understood, by member |
//! | `P:lease`, a string that expires | the supervisor of the prefix |
//! | `P:epoch`, `P:sequence`, strings | the number of the last lease, and of the last commit |
//! | `P:stopped`, a string | from a stop to the next start: the lease, the time, and whether everything was written |
//! | `P:grace`, a string | until a run outlives the grace after a restart: how much of it is used up, in milliseconds |
//! | `P:foreign:{id}` | a key of the wrong type that was renamed to make room for a record |
//!
//! The script that writes also checks, in the server, who may write. Leases and commits are numbered in one sequence that
//! begins at the server's clock, so that it grows even if the server loses its data. So a supervisor that has lost its lease
//! writes nothing, and a late commit that arrives by an old connection overwrites nothing newer.
//!
//! Requires a single Redis (5 or later) or compatible server, not a cluster.

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
