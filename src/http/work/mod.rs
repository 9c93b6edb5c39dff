//! Work in sandboxes over HTTP: commands, files, logs and load.

pub(super) mod commands;
pub(super) mod error;
pub(super) mod files;
pub(super) mod logs;
mod sse;
pub(super) mod stats;
