//! The agent, called over connections in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod dial;
mod files;
mod interpreter;
mod process;
mod server;
mod terminal;
mod tunnel;
mod walls;
