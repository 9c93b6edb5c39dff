//! The commands for people who work in sandboxes: they are clients of the HTTP interface.

mod cp;
mod exec;
mod follow;
mod logs;
mod stats;
mod terminal;

pub(super) use cp::cp;
pub(super) use exec::{ExitWith, exec, shell};
pub(super) use logs::logs;
pub(super) use stats::stats;
