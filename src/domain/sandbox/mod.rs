//! A sandbox, which is a pure state machine: `(sandbox, event, now) → (sandbox, effects)`.
//!
//! ```text
//!            ┌──────────┐ started  ┌─────────┐  pause   ┌────────┐
//!  create ──▶│ pending  │─────────▶│ running │◀────────▶│ paused │
//!            └────┬─────┘          └────┬────┘  resume  └───┬────┘
//!   start failed, │    idle, expired,   │    requested,      │
//!       requested │    requested, exit  │    expired, gone   │
//!                 ▼                     ▼                    ▼
//!   ┌──────────────────────── ending ────────────────────────────┐
//!   │ recording ──▶ (awaiting start) ──▶ removing ──▶ burying    │  status: terminating, failed or succeeded
//!   │   intent        start undone       ▲      │      tombstone │
//!   │                                    └ waiting              │
//!   └──────────────────────────────┬────────────────────────────┘
//!                                  ▼
//!                 gone: terminated, failed or succeeded
//! ```
//!
//! While it is running or paused, its container may stop with the engine: then it is started again, which nobody sees of the
//! status. Nothing ends meanwhile, and the idle clock stands still.
//!
//! It knows no clock, no Docker, no Redis and no actor. An actor performs the [`Effects`] of each step in their order
//! (persist, then the call to the engine) and feeds the outcomes back as [`Event`]s; what those who watch are told is an
//! effect, too. The order of an end is thereby part
//! of the machine: the removal is only asked for once the intent is recorded, and the tombstone only once the container
//! is confirmed gone.

mod clocks;
mod container;
mod details;
mod effects;
mod event;
#[cfg(test)]
mod histories;
mod holds;
#[cfg(test)]
mod laws;
mod notice;
mod rules;
mod state;
mod transitions;

pub use clocks::{Action, Reading};
pub use details::{Details, Hold, HoldRequest, MOST_HOLDS, RawFields};
pub use effects::{Change, Denied, Effects, End, EngineCall, Persist};
pub use event::{Container, Event, LeftOver, RestartFailure, StartProgress, Started};
pub use rules::{Rule, RuleClock, Rules, Spelling};
pub use state::{ActivityCount, Restored, Revived, Sandbox};
