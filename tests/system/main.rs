//! Tests of the real program on real Docker and real Redis, also with a real browser.

mod browser;
mod drill_command;
mod drills;
mod e2b;
mod end_to_end;
mod nginx;
mod punctuality;
mod standby;

#[path = "../support/mod.rs"]
mod support;
