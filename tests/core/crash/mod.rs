//! Fail on purpose: the supervisor is stopped dead before or after any effect of any transition, and started again. What
//! was promised to clients holds, and the end is the same as without the crash.
//!
//! [`stage`] is the world that outlives supervisors: one store, one engine, one clock. Each supervisor lives in a runtime
//! of its own, which is dropped in mid-step: that is as dead as `kill -9`. [`model`] remembers what clients were promised,
//! and judges everything that happens by it. [`scenarios`] are crashed at every single point, [`histories`] at random ones.

mod chaos;
mod client;
mod histories;
mod life;
mod model;
mod random;
mod scenarios;
mod stage;
mod verdict;

use crate::support::bench;
