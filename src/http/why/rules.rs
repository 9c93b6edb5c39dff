//! The rules that apply to a living sandbox.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{
    EpochSeconds, Moment, Now, Sandbox,
    sandbox::{Action, RuleClock},
    time::for_people,
};

/// A rule by which Sandglass acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rule {
    /// A sandbox that is not used ends.
    Idle,
    /// At the end of the active timeout, the sandbox's `on_timeout` happens.
    ActiveTimeout,
    /// A sandbox that does not send an expected heartbeat ends.
    Heartbeat,
    /// After a restart, deadlines wait until clients have had time to ping.
    RestartGrace,
    /// Calls that failed are retried until they succeed.
    Retry,
}

/// A rule, and its meaning for this sandbox.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RuleAnswer {
    /// The rule.
    rule: Rule,
    /// Its timeout in seconds; null if it has none.
    timeout: Option<f64>,
    /// Its deadline; null if it has none at present.
    at: Option<EpochSeconds>,
    /// Seconds until then.
    remaining: Option<f64>,
    /// Whether it is the one that acts next.
    acts_next: bool,
    /// Its meaning as a sentence.
    sentence: String,
}

impl From<RuleClock> for Rule {
    fn from(clock: RuleClock) -> Self {
        match clock {
            RuleClock::Idle | RuleClock::Paused => Self::Idle,
            RuleClock::Active => Self::ActiveTimeout,
            RuleClock::Heartbeat => Self::Heartbeat,
        }
    }
}

impl From<Action> for Rule {
    fn from(action: Action) -> Self {
        match action {
            Action::End(rule) | Action::Pause(rule) => rule.clock.into(),
            Action::Retry => Self::Retry,
        }
    }
}

/// The rules that apply to `sandbox` at present; none once it is ending.
pub(super) fn rules(sandbox: &Sandbox, now: &Now) -> Vec<RuleAnswer> {
    let next = sandbox.next_action().map(|(_, action)| action.into());
    let answer = |rule, after: Option<Duration>, at: Option<Moment>, sentence| RuleAnswer {
        rule,
        timeout: after.as_ref().map(Duration::as_secs_f64),
        at: at.map(|at| now.wall_at(at)),
        remaining: at.map(|at| at.since(now.moment).as_secs_f64()),
        acts_next: next == Some(rule),
        sentence,
    };
    let readings = sandbox.readings(now).into_iter();
    let mut rules: Vec<_> = readings.map(|it| answer(it.clock.into(), it.after, it.at, it.sentence)).collect();
    let grace = sandbox.not_before();
    if sandbox.is_alive() && grace > now.moment {
        let left = for_people(grace.since(now.moment));
        let sentence =
            format!("sandglass has restarted: nothing ends in the next {left}, so that clients can ping first");
        rules.push(answer(Rule::RestartGrace, None, Some(grace), sentence));
    }
    rules
}
