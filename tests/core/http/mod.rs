//! The HTTP interface over a real supervisor on the memory adapters, with paused time.

mod activity;
mod client;
mod create;
mod crowd;
mod e2b;
mod egress;
mod errors;
mod fuzz;
mod hang_up;
mod health;
mod holds;
mod lifecycle;
mod list;
mod openapi;
mod page;
mod refusals;
mod security;
mod stream;
mod stream_laws;
mod text;
mod watcher;
mod wire;
mod work;

use crate::support::bench;
