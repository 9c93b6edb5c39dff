//! The agent, called over connections in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

// Some of it is for tests to come.
#[allow(dead_code)]
mod client;
mod files;
mod server;
