//! `sandglass drill`: breaks things on purpose, on the user's own machine, and counts what was lost.
//!
//! Each drill in [`drills`] starts throw-away instances of this program ([`Instance`]) on a prefix of its own ([`Ground`]). A
//! [`Relay`] between them and Docker or Redis fails on command, and a [`Hand`](hand::Hand) changes containers behind their
//! backs. Drills that restart or kill an engine start their own ([`OwnEngine`]). Drills that need thousands of sandboxes run
//! a supervisor over memory in this process ([`mod@bench`]). The [`Ledger`](ledger::Ledger) keeps what clients were promised,
//! apart from Sandglass; at the end, the drill's [`Findings`] count the broken promises. A drill touches nothing that it did
//! not start.
//!
//! The tests of the whole program use the same instances, relays and engines.

mod bench;
mod clients;
mod drills;
mod findings;
mod ground;
mod hand;
mod instance;
mod ledger;
mod options;
mod own_engine;
mod relay;
mod runner;

pub(crate) use self::runner::check;
pub use self::{
    drills::DRILLS,
    findings::{Findings, Lateness},
    ground::Ground,
    instance::{Answer, Instance},
    options::{Options, Pace},
    own_engine::OwnEngine,
    relay::{Fault, Relay},
    runner::{Drill, DrillOutcome, run},
};
