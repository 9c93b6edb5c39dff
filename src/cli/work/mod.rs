//! The commands for people who work in sandboxes: they are clients of the HTTP interface.

mod cp;
mod exec;
mod exit;
mod follow;
mod logs;
mod stats;
mod terminal;
mod typing;

pub(super) use cp::cp;
pub(super) use exec::{exec, shell};
pub(super) use exit::ExitWith;
pub(super) use logs::logs;
pub(super) use stats::stats;
