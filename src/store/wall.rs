//! The wall clock of stores. An argument, so that tests decide when a tombstone has expired.

use std::sync::Arc;

use crate::domain::EpochSeconds;

/// Tells the wall-clock time, by which stores without a server expire tombstones.
pub type WallClock = Arc<dyn Fn() -> EpochSeconds + Send + Sync>;
