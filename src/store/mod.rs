//! Implementations of the persistence port.
//!
//! - [`embedded`]: one file, no server; the default;
//! - [`redis`]: a Redis server, in the reference system's layout;
//! - [`memory`]: for tests and benchmarks, with named failure points.

pub mod embedded;
pub mod memory;
pub mod redis;
mod wall;

pub use self::{embedded::EmbeddedStore, memory::MemoryStore, redis::RedisStore, wall::WallClock};
