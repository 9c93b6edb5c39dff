//! Containers that exist only on paper: the runtime port without an engine, for tests and benchmarks.
//!
//! It keeps the port's promises (ownership, idempotence, a create that cancelling does not cut in half), and can be
//! told to break: each step of each call is a [`Point`], and at each point, before or after its effect, it can fail
//! or hang ([`Memory::fail_next`], [`Memory::fail_always`], [`Memory::hang`]). A failure *after* the effect is the
//! answer that got lost on its way. Latency is `tokio`'s, so paused time works.

mod adapter;
mod containers;
mod faults;

pub use adapter::{Call, Memory};
pub use faults::{Point, When};
