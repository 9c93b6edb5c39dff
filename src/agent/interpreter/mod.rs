//! The code interpreter: runs cells of code in contexts, which keep their variables from one cell to the next.
//!
//! It speaks the protocol of E2B's code interpreter, to requests whose authority is [`AUTHORITY`]. A context is a child
//! process, started when it is first used, with a driver in the language itself. Cells and what they tell go over a socket that
//! the driver inherits, so that input, output and errors are the cell's own: they are pipes in which every write is a packet,
//! and so one object of the answer.
//!
//! | module | what it does |
//! |---|---|
//! | `calls` | answers requests |
//! | `contexts` | knows all contexts |
//! | `context` | one context: starts, restarts and ends its process |
//! | `execution` | runs one cell and tells what it does |
//! | `child` | a driver's process and its connections |
//! | `pump` | reads what a driver and its cells tell |
//! | `language` | what differs between the languages |
//! | `told` | the objects of the answer |
//!
//! The drivers are beside them: `python/`, `javascript/driver.js` and `driver.bash`. Nothing of them is written into the
//! container.

mod calls;
mod child;
mod context;
mod contexts;
mod execution;
mod language;
mod pump;
mod told;

pub(crate) use self::{calls::call, contexts::Contexts};

/// The authority of requests that are for the interpreter and not for the agent itself.
pub(crate) const AUTHORITY: &str = "interpreter";
