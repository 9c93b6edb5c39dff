//! What supervisors on one host know of each other.
//!
//! - [`holder`]: who holds something, in words, and whether that process lives;
//! - [`engine_lock`]: one supervisor per prefix and engine.

mod engine_lock;
mod holder;

pub use engine_lock::{Charge, EngineLock};
pub use holder::{Holder, Process};
