//! Sandglass.

pub mod config;
pub mod domain;
pub mod logging;
pub mod ports;
pub mod runtime;
pub mod store;
