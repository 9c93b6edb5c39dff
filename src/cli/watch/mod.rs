//! `sandglass watch`: the status stream in a terminal.
//!
//! - `connection`: connects, resumes, and gives up only where a retry cannot help;
//! - `holds`: says which holds were taken, renewed, released or ran out;
//! - `line`: formats an event as a line;
//! - `command`: prints until Ctrl-C.

mod command;
mod connection;
mod holds;
mod line;

pub(super) use command::watch;
pub(super) use connection::Refused;
