//! Implements the runtime port with the Docker Engine ([design: engine](crate::design::engine)).
//!
//! Three rules hold throughout:
//!
//! - **Ours only.** Before a container is touched, it is inspected and its labels are compared ([`find`]), and its name if
//!   its id is unknown, since images pass labels on to other containers. Labels never change and ids are never reused, so
//!   one inspection per operation is enough.
//! - **Bounded.** Every call has a timeout ([`engine`]) and holds one of `concurrency` permits ([`pool`]). Removals and pulls
//!   have further limits, so that they never starve a create. Only the stream of events has neither.
//! - **A create is never left half done.** It runs in a task of its own, which removes the container if the caller is gone
//!   ([`create`]).
//!
//! | file | content |
//! |---|---|
//! | [`settings`], [`adapter`] | the settings, and the port's calls |
//! | [`host`] | the engine's address, and a client for it |
//! | [`engine`] | calls with timeouts, the API version, reconnects |
//! | [`error`] | unreachable or failed |
//! | [`pool`] | limits of concurrency |
//! | [`charge`] | one supervisor per engine and prefix |
//! | [`find`] | finds the container that is meant, by its labels (`runtime::identity`) |
//! | [`view`] | converts an inspected container |
//! | [`list`], [`events`] | lists containers, and streams their events |
//! | [`hardening`] | the body of a create |
//! | [`reach`] | networks, ports and their addresses |
//! | [`registry`] | logins for registries |
//! | [`image`], [`create`], [`start`] | the steps of a start |
//! | [`freeze`], [`termination`] | pause and resume, removal |
//! | [`volume`], [`agent`], [`dial`], [`stdio`] | brings the agent into sandboxes, and connects to it |
//! | [`sweep`] | removes agents of other versions |
//! | [`inside`], [`output`], [`load`] | the port for work: what a container has written, and what it uses |
//! | [`snapshot`] | images of containers |
//! | [`names`], [`networks`], [`addresses`], [`mend`] | networks of our own, and where sandboxes are on them |
//! | [`known`], [`walls`], [`tend`] | what sandboxes on them may reach: set, compared and mended |
//! | [`firewall`], [`open`], [`helper`], [`helper_container`], [`resolvers`] | writes that into the kernel of the engine's host |
//! | [`clean`] | what is left over, and its removal |
//! | [`end`], [`restart`] | why a container ended, and how it is started again |
//!
//! By default, ports are published on the loopback address of the engine's host. An engine on another machine can be
//! supervised, but then readiness probes and `base_url` need another setting.

mod adapter;
mod addresses;
mod agent;
mod charge;
mod clean;
mod create;
mod dial;
mod end;
mod engine;
mod error;
mod events;
mod find;
mod firewall;
mod freeze;
mod hardening;
mod helper;
mod helper_container;
mod host;
mod image;
mod inside;
mod known;
mod list;
mod load;
mod mend;
mod names;
mod networks;
mod open;
mod output;
mod pool;
mod reach;
mod registry;
mod resolvers;
mod restart;
mod settings;
mod snapshot;
mod start;
mod stdio;
mod sweep;
mod tend;
mod termination;
mod view;
mod volume;
mod walls;

pub use adapter::Docker;
pub use clean::LeftOver;
pub use settings::{Firewall, Login, Ports, Reach, Registries, Settings};
