//! Why a sandbox is alive and until when, or why it ended ([design: why](crate::design::interface::why)).
//!
//! - `answer`: the handler and its answer;
//! - `rules`: the rules that apply to a living sandbox, each with a sentence;
//! - `because`: the answer in one sentence.

mod answer;
mod because;
mod rules;

pub(super) use answer::{__path_why, why};
