//! Works inside sandboxes, through an agent that runs there.
//!
//! The agent is a package of its own, `src/agent`. Its program is carried in this one, so that one file is installed.

mod binary;

pub use binary::{AGENT, AGENT_VERSION};
