//! Implementations of the runtime port.
//!
//! - [`docker`]: the Docker Engine;
//! - [`memory`]: containers that exist only in memory, with named failure points, for tests and benchmarks.
//!
//! Both pass the same contract (`tests/adapters/runtime_contract.rs`, `runtime_watch.rs`).
//!
//! They share the codec of labels (`labels`), the rules of ownership (`identity`) and the readiness probes (`readiness`).

mod cancel;
mod causes;
pub mod docker;
mod identity;
mod labels;
pub mod memory;
mod readiness;

pub use docker::Docker;
pub use memory::Memory;
