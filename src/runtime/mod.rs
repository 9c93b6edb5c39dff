//! Container engines behind the runtime port.
//!
//! - [`docker`]: the Docker Engine, over its socket;
//! - [`memory`]: containers that exist only on paper, with named failure points, for tests and benchmarks.
//!
//! Both pass the same contract (`tests/adapters/runtime_contract.rs`, `runtime_watch.rs`).
//!
//! What every engine needs is beside them: labels as text (`labels`), whose a container is (`identity`), when it is ready
//! (`readiness`).

mod cancel;
mod causes;
pub mod docker;
mod identity;
mod labels;
pub mod memory;
mod readiness;

pub use docker::Docker;
pub use memory::Memory;
