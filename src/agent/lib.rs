//! The agent runs inside a sandbox: it starts commands, moves files and opens connections for Sandglass.
//!
//! It speaks the protocol of E2B's `envd` (Connect with JSON), with additions that other clients do not notice, over any
//! byte stream that it is given. The program `sandglass-agent` serves an abstract unix socket; Sandglass reaches it through
//! the stdio of `sandglass-agent dial`, run in the container by the engine. Sandglass's in-memory engine runs this library in
//! its own process instead.
//!
//! | module | what it does |
//! |---|---|
//! | `server` | reads requests from a connection and finds who answers them |
//! | `connect` | the protocol: messages, streams and errors |
//! | `files` | looks at, moves, packs, unpacks and watches files |
//! | `interpreter` | runs cells of code in contexts that keep their variables |
//! | `metrics` | measures what the sandbox uses |
//! | `process` | starts commands and follows them |
//! | `system` | the steps between fork and exec, and others that need unsafe code |
//! | `tunnel` | opens connections to ports of the container |
//! | `users` | finds users and groups in the container's own files |
//! | [`walls`] | outside of sandboxes, on the host: the firewall around them |
//! | `clock` | reads clocks; nothing else does |

#![cfg(target_os = "linux")]

mod agent;
mod body;
mod clock;
mod connect;
mod files;
mod interpreter;
mod metrics;
mod process;
mod server;
mod system;
mod tunnel;
mod users;
pub mod walls;

pub use agent::{Agent, Setup};
pub use server::serve;

/// The version that `GET /health` tells in its header `Sandglass-Agent`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
