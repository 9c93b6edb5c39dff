//! `sandglass drill`: breaks things on purpose, on the user's own machine, and counts what was lost by it.
//!
//! Each drill in [`drills`] starts throw-away instances of this very program ([`Instance`]) on a prefix of its own
//! ([`Ground`]), puts a [`Relay`] between them and Docker or Redis where those have to fail, and does things to containers
//! behind their backs ([`Hand`]). A drill that restarts or kills an engine has one of its own ([`OwnEngine`]). A few need
//! thousands of sandboxes, and have a supervisor over memory in this very process ([`mod@bench`]). What clients were promised
//! is kept apart from Sandglass ([`Ledger`]); at the end, the drill's [`Findings`] say how often that was broken. Nothing is
//! touched that the drill did not start.
//!
//! Instances, relays and engines of their own are also what the tests of the whole program stand on.

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

pub use self::{
    drills::DRILLS,
    findings::{Findings, Lateness},
    ground::{Ground, StoreChoice},
    hand::Hand,
    instance::{Answer, Instance},
    ledger::Ledger,
    options::{Needs, Options, Pace},
    own_engine::{HOW_TO_GET_ONE, OwnEngine},
    relay::{Fault, Relay},
    runner::{Drill, DrillOutcome, LeftOut, check, run},
};
