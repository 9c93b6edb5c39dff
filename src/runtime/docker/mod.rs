//! The Docker Engine behind the runtime port ([design: engine](crate::design::engine)).
//!
//! Three rules run through all of it:
//!
//! - **Ours only.** Before a container is touched, exactly that container is inspected and its labels are compared
//!   ([`find`]), and its name where nobody knows its id: images pass labels on to containers of others. Labels cannot
//!   change while a container lives and ids are never given twice, so one look covers the whole of one deed.
//! - **Bounded.** Every call has a timeout ([`engine`]) and holds one of `concurrency` permits ([`pool`]); removals
//!   and pulls pass lanes of their own, so that neither starves a create. Only the stream of events holds none and may
//!   be silent for ever.
//! - **A create is never left half done.** It runs in a task of its own, which removes what it made when nobody waits
//!   for it any more ([`create`]).
//!
//! | file | idea |
//! |---|---|
//! | [`settings`], [`adapter`] | the settings, and the port's calls |
//! | [`host`] | where the engine is, and a client for it |
//! | [`engine`] | calls with timeouts, the API version, reconnects |
//! | [`error`] | unreachable or failed |
//! | [`pool`] | the lanes |
//! | [`charge`] | one supervisor per engine and prefix |
//! | [`find`] | the container that is ours, by its labels (`runtime::identity`) |
//! | [`view`] | an inspected container in the port's words |
//! | [`list`], [`events`] | all containers of ours, and what happens to them |
//! | [`hardening`] | the body of a create |
//! | [`reach`] | networks, ports, and where they are reached |
//! | [`registry`] | logins for registries |
//! | [`image`], [`create`], [`start`] | the way up |
//! | [`freeze`], [`termination`] | pause and resume, the way down |
//! | [`end`], [`restart`] | how a container ended that nobody here has ended, and how it is started again |
//!
//! Unless the settings say otherwise, published ports are bound to the loopback address of the engine's host, so an engine
//! on another machine can be supervised, but readiness probes and `base_url` need it on this one.

mod adapter;
mod charge;
mod create;
mod end;
mod engine;
mod error;
mod events;
mod find;
mod freeze;
mod hardening;
mod host;
mod image;
mod list;
mod pool;
mod reach;
mod registry;
mod restart;
mod settings;
mod start;
mod termination;
mod view;

pub use adapter::Docker;
pub use settings::{Login, Ports, Reach, Registries, Settings};
