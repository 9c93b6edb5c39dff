//! Containers that exist only on paper: the runtime port without an engine, for tests and benchmarks.
//!
//! It keeps the port's promises (ownership, idempotence, a create that cancelling does not cut in half), and can be
//! told to break: each step of each call is a [`Point`], and at each point, before or after its effect, it can fail
//! or hang ([`Memory::fail_next`], [`Memory::fail_always`], [`Memory::hang`]). A failure *after* the effect is the
//! answer that got lost on its way. Latency is `tokio`'s, so paused time works.
//!
//! Whatever changes a container, by the port or by hand, is an event. [`Point::Events`] is where a stream of them
//! connects, and `After` it is all of its life: a failure set there breaks a stream at once, also an idle one.

mod adapter;
mod by_hand;
mod containers;
mod events;
mod faults;
mod log;

pub use adapter::{Call, Gate, Memory};
pub use containers::WallClock;
pub use faults::{Point, When};
