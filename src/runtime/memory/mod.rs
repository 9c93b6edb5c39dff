//! Implements the runtime port in memory, for tests and benchmarks.
//!
//! It fulfils the port's contract (ownership, idempotence, uninterrupted creates) and injects faults: each step of each call
//! is a [`Point`] at which, before or after its effect, the call can fail or hang ([`Memory::fail_next`],
//! [`Memory::fail_always`], [`Memory::hang`]). A failure *after* the effect is a lost answer. Latency uses tokio's clock,
//! which can be paused.
//!
//! Every change of a container, by the port or by hand, is an event. A failure before [`Point::Events`] refuses the
//! connection of a stream; one after it breaks a stream at once, even an idle one.

mod adapter;
mod agents;
mod by_hand;
mod containers;
mod events;
mod faults;
mod inside;
mod log;
mod rules;
mod snapshots;
mod walls;

pub use adapter::{Call, Gate, Memory};
pub use containers::WallClock;
pub use faults::{Point, When};
