//! Why a sandbox is alive and until when, or why it ended ([design: why](crate::design::interface::why)).
//!
//! - `answer`: the handler, and what it answers with;
//! - `rules`: the rules that a living sandbox lives by, each with a sentence;
//! - `because`: the one sentence about the whole, and durations for people.

mod answer;
mod because;
mod rules;

pub(super) use answer::{__path_why, why};
