//! Sandglass supervises sandboxes: containers that people and agents work in. Every one lives as long as it is used, and
//! not a minute longer.
//!
//! # Bird's-eye view
//!
//! ```text
//!   domain ◀── ports ◀── journal, feed ◀── actor ◀── sandboxes ◀── keeper ◀── supervisor ◀── app ◀── cli ◀── main
//!                ▲                                     ▲                                       │
//!                │                                     └───────────────── http ◀───────────────┤
//!                └────────── store, runtime (adapters) ◀───────────────────────────────────────┘
//! ```
//!
//! An arrow points at what is known. A test (`tests/core/architecture.rs`) reads the code's own `use` lines and fails on one
//! against the arrows.
//!
//! | module | what it is |
//! |---|---|
//! | [`design`] | what Sandglass promises, and the rules that follow; no code |
//! | [`domain`] | what a sandbox is and how it lives: a pure state machine, deadlines, records |
//! | [`ports`] | the two seams to the outside, in the core's own words: persistence and the container engine |
//! | [`store`] | persistence: Redis, an embedded file, memory |
//! | [`host`] | what supervisors on one host know of each other: one per prefix and engine |
//! | [`runtime`] | container engines: Docker, memory |
//! | [`clock`] | the one place that reads the clock |
//! | [`random`] | the one place that random numbers come from |
//! | [`journal`] | the one writer in front of the store: write-through for transitions, write-behind for activity |
//! | [`feed`] | the hub of the status stream: ordered events, a bounded history, readers |
//! | [`actor`] | one actor per sandbox, which owns its state and its timer; all of actix is here |
//! | [`sandboxes`] | what is asked of sandboxes: to be created, found, listed, watched, used and ended |
//! | [`keeper`] | what runs by itself: the lease, restoring, comparing with the engine and the store |
//! | [`supervisor`] | the two together |
//! | [`http`] | verifies and converts requests and answers, and nothing else |
//! | [`config`] | defaults, file, environment and flags, merged and checked |
//! | [`tasks`] | keeps background tasks running, and tells of those that die |
//! | [`metrics`], [`logging`] | what is counted and what is told |
//! | [`open_files`] | how many files may be open, and what for |
//! | [`app`] | puts the parts together and takes them apart |
//! | [`drill`] | breaks things on purpose, and counts what was lost by it |
//! | [`cli`] | the commands |
//!
//! # What always holds
//!
//! - **Never early.** A ping that was acknowledged keeps its sandbox alive for the whole idle timeout. The decision to end
//!   it is one step of one actor: a ping is handled wholly before it, or refused.
//! - **Never forgotten.** An end persists its intent, does the deed, and forgets the record, in this order. Every deed that
//!   fails is tried again until it succeeds; whatever a crash interrupts, the next start drives on.
//! - One owner per state: nobody but a sandbox's actor changes it. Everyone else sends a message.
//! - Deadlines are on a monotonic clock. Nobody but [`clock`] reads one; everywhere else time is an argument.
//! - An error is never taken for "nothing there": neither from the store nor from the engine.
//! - An engine that goes away ends nothing. A container has ended by itself only if that can be shown; else it is started
//!   again.
//! - No background task dies silently: [`tasks`] starts it again, counts it, and `/readyz` tells.
//! - A container is touched only after it was seen to be ours: the one that a record names, or one that its own labels name.
//! - What only the backstop ([`keeper`]'s sweep) notices is a bug, and counted as one.
//! - Deliberately absent: a timer that is re-armed by pings (it looks again when it fires), a queue of pings (a ping
//!   stores one number), anything that matters in an actor's `stopped`, and deadlines in the keeper.
//!
//! # The walk of a ping
//!
//! [`http`] finds the id in the path and calls [`sandboxes::Sandboxes::touch`], which looks the actor up in the
//! registry and sends it a message with a reply channel. The actor reads the clock and applies
//! [`domain::sandbox::Event::Activity`]: `last_activity` moves, nothing else. It stores the time in the cell it shares
//! with the [`journal`] and, if the last flush has passed since it did so last, queues itself for the next one. The reply
//! carries a copy of the sandbox; HTTP turns it into deadlines. No timer moved, nothing was written.
//!
//! If somebody watches, the actor also puts an event at the end of the [`feed`]'s history, at most once a second; a task of
//! the feed's own wakes the readers, and each goes on from its own place.
//!
//! # The walk of an expiry
//!
//! The actor's one timer fires at or before the deadline. The actor applies
//! [`domain::sandbox::Event::TimerFired`]: if pings have moved the deadline, it is armed for the rest, and that was all.
//! Otherwise the machine is in `ending` from this moment, and refuses pings. Its effects: write the intent through. When
//! the journal reports it stored, the machine asks for the removal; the engine's adapter checks the container's labels,
//! stops, kills and removes it. When that is confirmed, the machine asks for the tombstone, and when that is stored the
//! actor puts it where it stood in the registry, answers what is left in its mailbox, and stops.

pub mod actor;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod design;
pub mod domain;
pub mod drill;
pub mod feed;
pub mod host;
pub mod http;
pub mod journal;
pub mod keeper;
pub mod logging;
pub mod metrics;
pub mod open_files;
pub mod ports;
pub mod random;
pub mod runtime;
pub mod sandboxes;
pub mod store;
pub mod supervisor;
pub mod tasks;
