//! Work in sandboxes: commands, files, and what containers write and use ([design: work](crate::design::work)).
//!
//! The agent in a sandbox does the work; this module is its client, and keeps the two promises meanwhile: whatever is begun
//! counts as use before it is answered, and a command holds its sandbox until its end is known.
//!
//! | file | content |
//! |---|---|
//! | [`lines`] | the connections to agents, kept while they are used |
//! | [`patience`] | how long agents may take |
//! | [`body`], [`connect`] | the agent's protocol: calls, streams and errors |
//! | [`service`] | [`Work`]: what can be asked for, and the checks before it |
//! | [`commands`], [`events`] | begins commands, lists them, and reads what they write until they end |
//! | [`follow`] | waits for the ends of commands that nobody waits for |
//! | [`files`], [`answer`] | moves files |
//! | [`forward`] | passes requests on to the agent, or to ports |
//! | [`meter`] | counts bytes that move as use |
//! | [`disk`], [`disks`] | asks how full disks are, and keeps the last answers |

mod answer;
mod body;
mod commands;
mod connect;
mod disk;
mod disks;
mod error;
mod events;
mod files;
mod follow;
mod forward;
mod lines;
mod meter;
mod patience;
mod service;

pub use answer::Answer;
pub use body::Part;
pub use commands::{Begun, Command, CommandInfo, Input, Program, Tty};
pub use disks::Disk;
pub use error::WorkError;
pub use events::{CommandEvent, Ending, Events, From, Piece, Stream};
pub use files::FileRequest;
pub use forward::{Duplex, Forward, Forwarded, Moves, Switched, Target};
pub use service::Work;
