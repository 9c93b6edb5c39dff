//! What the test binaries share.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub mod bench;
