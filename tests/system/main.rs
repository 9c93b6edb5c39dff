//! The real program on real Docker and real Redis, with a real browser in front of it.

mod browser;
mod drill_command;
mod drills;
mod end_to_end;
mod nginx;
mod punctuality;
mod standby;

#[path = "../support/mod.rs"]
mod support;
