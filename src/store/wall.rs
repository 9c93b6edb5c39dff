//! The wall clock as stores see it: an argument, so that tests decide when a tombstone has expired.

use std::sync::Arc;

use crate::domain::EpochSeconds;

/// Tells the wall-clock time. Stores that have no server to ask use it to expire tombstones.
pub type WallClock = Arc<dyn Fn() -> EpochSeconds + Send + Sync>;
