//! Code that tests share. Each of the three binaries compiles all of it and uses a part.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod bench;
pub mod docker;
pub mod fixtures;
pub mod mutations;
pub mod program;
pub mod quiet;
pub mod redis;
pub mod registry;
pub mod world;
