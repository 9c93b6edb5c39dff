//! The embedded store: one crash-safe file and no server
//! ([design: embedded store](crate::design::persistence::embedded_store)). It is the default.
//!
//! The file is a redb database; each commit is one durable transaction. The lease is the lock that an open database holds on
//! its file, which the system releases however the process ends. `PATH.lease`, beside the file, tells people who holds it.
//!
//! On a network file system that several hosts share, the file is as safe as that system's locks.

mod error;
mod file;
mod store;
mod tables;

pub use store::{EmbeddedStore, Settings};
