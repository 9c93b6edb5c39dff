//! Container engines behind the runtime port.
//!
//! - [`docker`]: the Docker Engine, over its socket;
//! - [`memory`]: containers that exist only on paper, with named failure points, for tests and benchmarks.
//!
//! Both pass the same contract (`tests/runtime_contract.rs`, `tests/runtime_watch.rs`).

pub mod docker;
pub mod memory;

pub use docker::Docker;
pub use memory::Memory;
