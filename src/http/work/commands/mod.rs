//! Commands: begins them, reads what they write, and sends them input and signals.

mod answers;
mod read;
mod requests;
mod run;
mod send;
mod told;

// With what the specification's macros put beside the handlers.
pub(in crate::http) use read::*;
pub(in crate::http) use run::*;
pub(in crate::http) use send::*;
