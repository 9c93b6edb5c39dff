//! What a sandbox is and how it lives: pure code, without a clock, an engine or a store.
//!
//! - [`words`]: the public words for states, ends and activity;
//! - [`time`]: moments, and their wall-clock times;
//! - [`sandbox`]: the state machine: its details, its phase and its deadlines;
//! - [`name`]: what its container is called;
//! - [`json`]: raw JSON that others have to read;
//! - [`record`]: how a sandbox is written down and read back;
//! - [`restore`]: from a record, or from a container's labels, back to a sandbox;
//! - [`leaf`]: single values that check themselves while they are read;
//! - [`spec`]: what a new sandbox is made from;
//! - [`retry`]: how long to wait before trying again.

pub mod fields;
pub mod id;
pub mod json;
pub mod leaf;
pub mod name;
pub mod record;
pub mod restore;
pub mod retry;
pub mod sandbox;
pub mod spec;
pub mod time;
pub mod words;

pub use fields::Fields;
pub use id::{ID_PATTERN, ID_RULE, InvalidId, SandboxId};
pub use sandbox::{Denied, Details, Rules, Sandbox};
pub use time::{EpochSeconds, Moment, Now};
pub use words::{ActivitySource, EndReason, OnTimeout, Status};
