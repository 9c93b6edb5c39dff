//! A store in memory, for tests and benchmarks: it keeps the port's contract, including the lease, and fails where and
//! how it is told to. What it holds outlives a handle, so that a restart is a [`MemoryStore::reopen`].

mod content;
mod faults;
mod store;

pub use content::Written;
pub use faults::Point;
pub use store::MemoryStore;
