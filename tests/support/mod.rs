//! What tests share. Every test file compiles this for itself and uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod bench;
pub mod docker;
pub mod fixtures;
pub mod program;
pub mod redis;
pub mod stores;
