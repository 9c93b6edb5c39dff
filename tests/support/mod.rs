//! What tests share. Every test file compiles this for itself and uses a part of it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod redis;
pub mod stores;
