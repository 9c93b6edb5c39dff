//! How supervisors on one host find each other.
//!
//! - [`holder`]: describes who holds a lease or lock, and tells whether that process lives;
//! - [`engine_lock`]: one supervisor per prefix and engine.

mod engine_lock;
mod holder;

pub use engine_lock::{Charge, EngineLock};
pub use holder::{Holder, Process};
