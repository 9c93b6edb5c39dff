//! Sandboxes and their life: pure code, without a clock, an engine or a store.
//!
//! - [`words`]: the public words for states, ends and activity;
//! - [`time`]: moments, and their wall-clock times;
//! - [`sandbox`]: the state machine: its details, its phase and its deadlines;
//! - [`name`]: the name of its container;
//! - [`json`]: raw JSON of clients, which other clients have to read;
//! - [`record`]: the JSON that is stored of a sandbox;
//! - [`restore`]: restores a sandbox from its record or from its container's labels;
//! - [`leaf`]: single values that check themselves while they are read;
//! - [`spec`]: the specification of a new container;
//! - [`egress`]: what a sandbox may reach;
//! - [`snapshot`]: images of sandboxes' files;
//! - [`retry`]: how long to wait before trying again.

pub mod egress;
pub mod fields;
pub mod id;
pub mod json;
pub mod leaf;
pub mod name;
pub mod record;
pub mod restore;
pub mod retry;
pub mod sandbox;
pub mod snapshot;
pub mod spec;
pub mod time;
pub mod words;

pub use fields::Fields;
pub use id::{ID_PATTERN, ID_RULE, InvalidId, SandboxId};
pub use sandbox::{Denied, Details, Rules, Sandbox};
pub use time::{EpochSeconds, Moment, Now};
pub use words::{ActivitySource, EndReason, OnTimeout, Status};
