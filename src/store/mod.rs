//! Stores behind the persistence port.
//!
//! - [`memory`]: for tests and benchmarks, with named failure points.

pub mod memory;
mod wall;

pub use memory::MemoryStore;
pub use wall::WallClock;
