//! The firewall around sandboxes, on the host: which addresses each of them may reach.
//!
//! It is one table of `nf_tables` per prefix of Sandglass, written over netlink without the program `nft`. Sandglass calls
//! [`Firewall`] itself where it may, and else has `sandglass-agent walls` run beside the engine and sends it [`Request`]s.
//!
//! | module | what it does |
//! |---|---|
//! | `table` | what callers say |
//! | `layout` | which sets, chains and rules that becomes |
//! | `expression` | what rules consist of |
//! | `write`, `read` | turn layouts into messages, and back |
//! | `kernel`, `wire`, `numbers` | the connection, its messages and their numbers |
//! | `firewall` | the operations |
//! | `serve` | the operations for another process |

mod error;
mod expression;
mod firewall;
mod kernel;
mod layout;
mod numbers;
mod read;
mod serve;
mod table;
mod wire;
mod write;

pub use error::{Kind, WallsError};
pub use firewall::{Firewall, PEERS_OPEN};
pub use serve::{Answer, Request, serve};
pub use table::{Blocked, PREFIX, Rules, Table};

#[cfg(test)]
mod tests;
