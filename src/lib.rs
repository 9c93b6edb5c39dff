//! Sandglass supervises sandboxes: containers that people and agents work in. Each one lives as long as it is used, and not a
//! minute longer.
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
//! An arrow points at the module that is used. A test (`tests/core/architecture.rs`) reads the `use` lines and fails on one
//! against the arrows.
//!
//! | module | what it does |
//! |---|---|
//! | [`design`] | says what Sandglass promises, and the rules that follow; has no code |
//! | [`domain`] | decides how a sandbox lives: a pure state machine with its rules, and records |
//! | [`ports`] | defines the interfaces to the outside: the store, the container engine, the inside of its containers, and images of their files |
//! | [`store`] | keeps records in Redis, an embedded file, or memory |
//! | [`runtime`] | runs containers in Docker, or simulates them in memory |
//! | [`inside`] | carries the agent: the program that works inside sandboxes |
//! | [`host`] | lets supervisors on one host find each other: one per prefix and engine |
//! | [`clock`] | reads clocks; nothing else does |
//! | [`random`] | makes random numbers; nothing else does |
//! | [`journal`] | writes to the store: transitions at once, activity batched |
//! | [`feed`] | keeps the ordered history of changes that the status stream reads |
//! | [`actor`] | runs one actor per sandbox, which owns its state and timer; only this module uses actix |
//! | [`sandboxes`] | answers requests: creates, finds, lists, watches, uses and ends sandboxes |
//! | [`work`] | runs commands and moves files in sandboxes, as a client of the agent inside |
//! | [`keeper`] | works by itself: holds the lease, restores sandboxes, compares them with the engine and the store |
//! | [`supervisor`] | combines the two |
//! | [`http`] | verifies and converts requests and answers; decides nothing |
//! | [`config`] | merges and checks defaults, file, environment and flags |
//! | [`tasks`] | restarts background tasks that die, and reports them |
//! | `loops` | repeats and retries: every task that does so uses the same two loops |
//! | [`metrics`], [`logging`] | count and log |
//! | [`open_files`] | shares out the limit of open files |
//! | [`app`] | starts and stops all parts |
//! | [`drill`] | breaks things on purpose and counts what is lost |
//! | [`cli`] | has the commands |
//!
//! # What always holds
//!
//! The two promises and the rules that follow are in the [`design`]. In the code they mean:
//!
//! - Only a sandbox's actor changes its state. Everything else sends it messages.
//! - Time is an argument everywhere but in [`clock`], and deadlines are monotonic.
//! - An error is never taken for "there is none", neither from the store nor from the engine.
//! - Intent, deed, tombstone: an end takes these steps in this order, and each one is retried until it succeeds.
//! - A container is touched only after it was inspected and found to be ours.
//! - Whatever only the keeper's sweep notices is a bug, and is counted as one.
//! - Deliberately absent: timers that pings re-arm, queues of pings, anything that matters in an actor's `stopped`, and
//!   deadlines outside of the actors.
//!
//! # The walk of a ping
//!
//! [`http`] finds the id in the path and calls [`sandboxes::Sandboxes::touch`], which looks the actor up in the registry and
//! sends it a message with a reply channel. The actor reads the clock and applies [`domain::sandbox::Event::Activity`], which
//! moves `last_activity` and nothing else. It stores that time in the cell that it shares with the [`journal`] and, unless it
//! is queued already, queues itself for the next flush. The reply carries a copy of the sandbox, which HTTP turns into
//! deadlines. No timer moved and nothing was written.
//!
//! If somebody watches, the actor also appends an event to the [`feed`]'s history, at most once a second. A task of the feed
//! wakes the readers, and each continues from its own position.
//!
//! # The walk of an expiry
//!
//! The actor's one timer fires at or before the deadline, and the actor applies [`domain::sandbox::Event::TimerFired`]. If
//! pings have moved the deadline, the timer is armed for the rest. Otherwise the machine is ending from now on and refuses
//! pings. Its first effect is to write the intent. Once the journal reports that as stored, the machine asks for the removal:
//! the engine's adapter checks the container's labels, stops it, kills it and removes it. Once that is confirmed, the machine
//! asks for the tombstone. When that is stored, the actor puts it into the registry in its own place, answers what is left in
//! its mailbox, and stops.
//!
//! # Embedding
//!
//! A program can run a supervisor by itself, with any store and engine behind the [`ports`]:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use sandglass::{
//!     app::{Adapters, App},
//!     config::{Overrides, Settings},
//!     domain::ActivitySource,
//!     runtime::Memory,
//!     sandboxes::{Create, Created},
//!     store::MemoryStore,
//! };
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut flags = Overrides::default();
//!     flags.set("http.bind", "127.0.0.1:0", "example");
//!     let mut settings = Settings::load(None, [], flags)?;
//!     let adapters = Adapters { store: Arc::new(MemoryStore::new()), runtime: Arc::new(Memory::new()) };
//!     let listener = App::listen(&mut settings)?;
//!     let app = App::new(settings, adapters, listener).await?;
//!
//!     let sandboxes = app.supervisor().sandboxes();
//!     let Created::New(sandbox) = sandboxes.create(Create::default(), true).await? else { unreachable!() };
//!     sandboxes.touch(sandbox.id(), ActivitySource::Ping).await?;
//!     let ended = sandboxes.terminate(sandbox.id(), Duration::from_secs(10)).await?;
//!     assert!(ended.is_gone());
//!
//!     assert_eq!(app.shutdown().await, 0, "everything is written");
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]

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
pub mod inside;
pub mod journal;
pub mod keeper;
pub mod logging;
mod loops;
pub mod metrics;
pub mod open_files;
pub mod ports;
pub mod random;
pub mod runtime;
pub mod sandboxes;
pub mod store;
pub mod supervisor;
pub mod tasks;
pub mod work;
