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
//! While it is running or paused, its container may stop together with the engine. It is then started again; the status stays
//! the same, nothing ends in the meantime, and the idle clock stands still.
//!
//! The machine knows no clock, engine, store or actor. An actor performs the [`Effects`] of each step in their order (persist,
//! then the call to the engine) and returns the outcomes as [`Event`]s. What watchers are told is an effect, too. So the order
//! of an end is part of the machine: it requests the removal only after the intent is recorded, and the tombstone only after
//! the container is confirmed gone.

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
#[cfg(test)]
mod pauses;
mod rules;
mod state;
mod transitions;
mod walls;

pub use clocks::{Action, Reading};
pub use details::{
    Details, Hold, HoldRequest, MOST_COMMAND_HOLDS, MOST_HOLDS, RawFields, Work, command_hold, command_of, holder,
};
pub use effects::{Change, Denied, Effects, End, EngineCall, Persist};
pub use event::{Container, Event, LeftOver, RestartFailure, StartProgress, Started};
pub use rules::{Rule, RuleClock, Rules, Spelling};
pub use state::{ActivityCount, Restored, Revived, Sandbox};
