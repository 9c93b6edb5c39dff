//! Sandglass.

pub mod actor;
pub mod clock;
pub mod config;
pub mod domain;
pub mod http;
pub mod journal;
pub mod logging;
pub mod metrics;
pub mod ports;
pub mod runtime;
pub mod store;
pub mod supervisor;
