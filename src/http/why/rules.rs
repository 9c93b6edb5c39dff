//! The rules that a living sandbox lives by.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::because::for_people;
use crate::domain::{EndReason, EpochSeconds, Moment, Now, OnTimeout, Sandbox, Status, sandbox::Action};

/// What makes Sandglass act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rule {
    /// A sandbox that nobody uses ends.
    Idle,
    /// The end of the active timeout has the effect that the sandbox's `on_timeout` says.
    ActiveTimeout,
    /// A sandbox that owes a heartbeat and does not send it ends.
    Heartbeat,
    /// After a restart, deadlines wait until clients could ping again.
    RestartGrace,
    /// What failed is tried until it succeeds.
    Retry,
}

/// A rule, and what it means for this sandbox.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RuleAnswer {
    /// Which.
    rule: Rule,
    /// Its timeout in seconds; null: it has none.
    timeout: Option<f64>,
    /// Its deadline; null: it has none as things stand.
    at: Option<EpochSeconds>,
    /// Seconds until then.
    remaining: Option<f64>,
    /// Whether it is the one that acts next.
    acts_next: bool,
    /// What it means, in a sentence.
    sentence: String,
}

/// The rule by which something is done.
pub(super) fn rule_of(action: Action) -> Rule {
    match action {
        Action::End(EndReason::Idle) => Rule::Idle,
        Action::End(EndReason::Unresponsive) => Rule::Heartbeat,
        Action::End(_) | Action::Pause => Rule::ActiveTimeout,
        Action::Retry => Rule::Retry,
    }
}

/// The rules that `sandbox` is subject to as things stand; none once it is ending.
pub(super) fn rules(sandbox: &Sandbox, now: &Now) -> Vec<RuleAnswer> {
    if !sandbox.is_alive() {
        return Vec::new();
    }
    let next = sandbox.next_action().map(|(_, action)| rule_of(action));
    let policy = sandbox.policy();
    let answer = |rule, timeout: Option<Duration>, at: Option<Moment>, sentence: String| RuleAnswer {
        rule,
        timeout: timeout.as_ref().map(Duration::as_secs_f64),
        at: at.map(|at| now.wall_at(at)),
        remaining: at.map(|at| at.since(now.moment).as_secs_f64()),
        acts_next: next == Some(rule),
        sentence,
    };
    let paused = sandbox.status() == Status::Paused;
    let idle_timeout = if paused { policy.paused_timeout } else { policy.idle_timeout };
    let mut rules = vec![
        answer(Rule::Idle, idle_timeout, sandbox.idle_deadline(), idle(sandbox, now)),
        answer(
            Rule::ActiveTimeout,
            Some(policy.active_timeout),
            Some(sandbox.expires_at()),
            active_timeout(sandbox, now),
        ),
    ];
    if let Some(timeout) = policy.heartbeat_timeout {
        rules.push(answer(Rule::Heartbeat, Some(timeout), sandbox.heartbeat_deadline(), heartbeat(sandbox, now)));
    }
    if sandbox.not_before() > now.moment {
        let left = for_people(sandbox.not_before().since(now.moment));
        let sentence =
            format!("sandglass has restarted: nothing ends in the next {left}, so that clients can ping first");
        rules.push(answer(Rule::RestartGrace, None, Some(sandbox.not_before()), sentence));
    }
    rules
}

fn idle(sandbox: &Sandbox, now: &Now) -> String {
    let unused = for_people(now.moment.since(sandbox.last_activity()));
    let paused = sandbox.paused_since().is_some();
    let Some(deadline) = sandbox.idle_deadline() else {
        return match (sandbox.status(), paused) {
            (Status::Pending, _) => "its idle clock starts with its container".to_owned(),
            (_, true) => "it is paused, and its idle clock stands still".to_owned(),
            _ if sandbox.is_restarting() => {
                "its container is started again, and its idle clock stands still".to_owned()
            }
            _ => format!("unused for {unused}; it has no idle timeout, and may be unused for ever"),
        };
    };
    let left = for_people(deadline.since(now.moment));
    let sentence = if paused {
        format!("it is paused, and ends in {left} if nobody resumes or uses it")
    } else {
        format!("unused for {unused}; it ends in {left} if nobody uses it")
    };
    match sandbox.idle_slack() {
        Duration::ZERO => sentence,
        slack => format!("{sentence}; {} of that for activity that a restart may have lost", for_people(slack)),
    }
}

fn active_timeout(sandbox: &Sandbox, now: &Now) -> String {
    let (left, over) = (sandbox.expires_at().since(now.moment), now.moment.since(sandbox.expires_at()));
    let effect = match (sandbox.policy().on_timeout, sandbox.status()) {
        (OnTimeout::Deactivate, _) if left.is_zero() => {
            return format!("it has been inactive for {}; that alone does not end it", for_people(over));
        }
        (OnTimeout::Deactivate, _) => "reports itself inactive, which does not end it",
        (OnTimeout::Terminate, _) => "ends",
        (OnTimeout::Pause, Status::Paused) => {
            return "it is paused, which is what its active timeout asks for".to_owned();
        }
        (OnTimeout::Pause, _) => "is paused",
    };
    if sandbox.status() == Status::Pending {
        return format!("once it runs, it is active for {}", for_people(sandbox.policy().active_timeout));
    }
    format!("it is active for {} more, and then {effect}, unless a keep-alive comes", for_people(left))
}

fn heartbeat(sandbox: &Sandbox, now: &Now) -> String {
    let heard = for_people(now.moment.since(sandbox.last_heartbeat()));
    match sandbox.heartbeat_deadline() {
        Some(deadline) => {
            let left = for_people(deadline.since(now.moment));
            format!("the last sign of life came {heard} ago; it ends in {left} if none comes")
        }
        None => "it owes heartbeats while it runs".to_owned(),
    }
}
