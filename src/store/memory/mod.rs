//! A store in memory, for tests and benchmarks. It fulfils the port's contract, including the lease, and injects faults. Its
//! content outlives a handle, so that [`MemoryStore::reopen`] simulates a restart.

mod content;
mod faults;
mod store;

pub use content::Written;
pub use faults::Point;
pub use store::MemoryStore;
