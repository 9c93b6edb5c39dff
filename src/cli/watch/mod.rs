//! `sandglass watch`: the status stream in a terminal.
//!
//! - `connection`: connects, resumes, and gives up only what trying again cannot mend;
//! - `line`: an event as a line;
//! - `command`: what the user asked for, until Ctrl-C.

mod command;
mod connection;
mod line;

pub(super) use command::watch;
pub(super) use connection::Refused;
