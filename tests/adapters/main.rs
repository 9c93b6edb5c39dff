//! The adapters: one contract per port, run over every adapter of it, and what each adapter promises beyond that. Needs Docker
//! and Redis.

mod engines;
mod runtime_contract;
mod runtime_docker;
mod runtime_faults;
mod runtime_watch;
mod store_contract;
mod stores;
mod tls;

#[path = "../support/mod.rs"]
mod support;
