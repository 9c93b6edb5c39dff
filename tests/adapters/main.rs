//! Tests of the adapters: the contract of each port over each of its adapters, and what adapters promise beyond it. They
//! need Docker and Redis.

mod engines;
mod runtime_contract;
mod runtime_docker;
mod runtime_faults;
mod runtime_watch;
mod snapshots;
mod store_contract;
mod stores;
mod tls;
mod walls;
mod work_accidents;
mod work_bench;
mod work_contract;
mod work_images;

#[path = "../support/mod.rs"]
mod support;
