//! The embedded store: one crash-safe file and no server
//! ([design: embedded store](crate::design::persistence::embedded_store)). It is the default.
//!
//! The file is a redb database; each commit is one durable transaction. The lease is the lock that an open database
//! holds on its file: the system gives it back when the process ends, however it ends. Beside the file, `PATH.lease`
//! tells people who holds it.
//!
//! The lock belongs to one host. A file on a network file system shared by several hosts is as safe as that system's
//! locks are.

mod error;
mod file;
mod store;
mod tables;

pub use store::{EmbeddedStore, Settings};
