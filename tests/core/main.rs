//! Tests of everything above the adapters, over memory: actors, supervisor, journal and the HTTP interface, mostly with
//! paused time. They need neither Docker nor Redis.

mod agents;
mod architecture;
mod crash;
mod hand_over;
mod http;
mod instructions;
mod journal;
mod old_files;
mod reconcile;
mod records;
mod restore;
mod snapshots;
mod stream;
mod supervision;
mod taken_over;

#[path = "../support/mod.rs"]
mod support;
