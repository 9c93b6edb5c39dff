//! Stores behind the persistence port.
//!
//! - [`redis`]: a Redis server, in the reference system's layout;
//! - [`memory`]: for tests and benchmarks, with named failure points.

mod holder;
pub mod memory;
pub mod redis;
mod wall;

pub use self::{memory::MemoryStore, redis::RedisStore, wall::WallClock};
