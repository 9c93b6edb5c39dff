//! The handler and its answer.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        answers::{HoldAnswer, SANDBOX_CAPACITY, holds},
        egress::BlockedAnswer,
        error::ApiError,
        extract::Id,
        json::json,
    },
    because::because,
    rules::{Rule, RuleAnswer, rules},
};
use crate::{
    domain::{
        ActivitySource, EndReason, EpochSeconds, Now, Sandbox, SandboxId, Status,
        sandbox::{Action, End},
    },
    ports::walls::Blocked,
    sandboxes::Sandboxes,
};

/// Why a sandbox is alive and until when, or why it ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Why)]
pub(in crate::http) struct WhyAnswer<'a> {
    /// Its identifier.
    #[schema(value_type = String)]
    sandbox_id: &'a SandboxId,
    /// Its status.
    status: Status,
    /// Whether it is starting or up, and not ending.
    alive: bool,
    /// The answer as a sentence.
    because: String,
    /// What Sandglass does next by itself; null if nothing.
    next: Option<Next>,
    /// The rules that apply to it; none once it is ending.
    rules: Vec<RuleAnswer>,
    /// The holds on it, sorted by name.
    holds: Vec<HoldAnswer<'a>>,
    /// What it tried to reach in vain; null if it is on no isolated network, or that is not known.
    blocked: Option<BlockedAnswer>,
    /// When it was last used.
    last_activity_at: EpochSeconds,
    /// A source that has reset the idle clock.
    activity: Vec<SourceAnswer>,
    /// How it ended or is ending.
    end: Option<EndAnswer>,
    /// The state of its removal, while it is ending.
    removal: Option<RemovalAnswer<'a>>,
}

/// What Sandglass does next by itself.
#[derive(Debug, Serialize, ToSchema)]
struct Next {
    /// The action.
    action: NextAction,
    /// The rule that requires it.
    rule: Rule,
    /// The reason of the sandbox's end, if it ends.
    reason: Option<EndReason>,
    /// When it is due.
    at: EpochSeconds,
    /// Seconds until then.
    remaining: f64,
}

/// An action of Sandglass.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NextAction {
    /// It ends the sandbox.
    End,
    /// It pauses the sandbox.
    Pause,
    /// It retries what failed.
    Retry,
}

/// A source that has reset the idle clock.
#[derive(Debug, Serialize, ToSchema)]
struct SourceAnswer {
    /// The action.
    source: ActivitySource,
    /// How often it did.
    count: u32,
    /// When it last did.
    last_at: EpochSeconds,
}

/// An end.
#[derive(Debug, Serialize, ToSchema)]
struct EndAnswer {
    /// The reason.
    reason: EndReason,
    /// The exit code of its container, if that ended by itself.
    exit_code: Option<i64>,
    /// When it was decided.
    ended_at: EpochSeconds,
    /// The deadline that ended it, if one did.
    deadline_at: Option<EpochSeconds>,
    /// Seconds between the deadline and the decision.
    lateness: Option<f64>,
}

/// The state of a removal.
#[derive(Debug, Serialize, ToSchema)]
struct RemovalAnswer<'a> {
    /// How many attempts have failed.
    failed_attempts: u32,
    /// The error of the last attempt.
    last_error: Option<&'a str>,
    /// When the next attempt begins; null if one is under way, or the store has to record the end first.
    next_attempt_at: Option<EpochSeconds>,
}

/// Why it is alive and until when, or why it ended.
#[utoipa::path(get, path = "/v1/sandboxes/{id}/why", operation_id = "why", tag = "sandboxes",
    params(("id" = String, Path, description = "The sandbox")),
    responses((status = 200, description = "Why", body = WhyAnswer)))]
pub(in crate::http) async fn why(sandboxes: Data<Sandboxes>, Id(id): Id) -> Result<HttpResponse, ApiError> {
    let sandbox = sandboxes.get(&id).await;
    let blocked = match &sandbox {
        Ok(sandbox) => sandboxes.blocked(sandbox).await,
        Err(_) => None,
    };
    let now = sandboxes.now();
    match sandbox {
        Ok(sandbox) => Ok(json(StatusCode::OK, &WhyAnswer::of(&sandbox, blocked, &now), 2 * SANDBOX_CAPACITY)),
        Err(error) => Err(ApiError::of(&error, &now)),
    }
}

impl<'a> WhyAnswer<'a> {
    fn of(sandbox: &'a Sandbox, blocked: Option<Blocked>, now: &Now) -> Self {
        let details = &sandbox.details;
        Self {
            sandbox_id: &details.id,
            status: sandbox.status(),
            alive: sandbox.is_alive(),
            because: because(sandbox, now),
            next: Next::of(sandbox, now),
            rules: rules(sandbox, now),
            holds: holds(sandbox, now),
            blocked: blocked.map(Into::into),
            last_activity_at: now.wall_at(sandbox.last_activity()),
            activity: activity(sandbox, now),
            end: sandbox.end().map(|end| EndAnswer::of(end, now)),
            removal: RemovalAnswer::of(sandbox, now),
        }
    }
}

impl Next {
    fn of(sandbox: &Sandbox, now: &Now) -> Option<Self> {
        let (at, action) = sandbox.next_action()?;
        let (done, reason) = match action {
            Action::End(rule) => (NextAction::End, Some(rule.clock.end_reason())),
            Action::Pause(_) => (NextAction::Pause, None),
            Action::Retry => (NextAction::Retry, None),
        };
        let remaining = at.since(now.moment).as_secs_f64();
        Some(Self { action: done, rule: action.into(), reason, at: now.wall_at(at), remaining })
    }
}

impl EndAnswer {
    fn of(end: &End, now: &Now) -> Self {
        Self {
            reason: end.reason,
            exit_code: end.exit_code,
            ended_at: now.wall_at(end.decided_at),
            deadline_at: end.deadline.map(|at| now.wall_at(at)),
            lateness: end.lateness().map(|lateness| lateness.as_secs_f64()),
        }
    }
}

impl<'a> RemovalAnswer<'a> {
    fn of(sandbox: &'a Sandbox, now: &Now) -> Option<Self> {
        let under_way = sandbox.end().is_some() && !sandbox.is_gone();
        under_way.then(|| Self {
            failed_attempts: sandbox.failures(),
            last_error: sandbox.details.engine_error.as_deref().filter(|_| sandbox.failures() > 0),
            next_attempt_at: sandbox.next_action().map(|(at, _)| now.wall_at(at)),
        })
    }
}

fn activity(sandbox: &Sandbox, now: &Now) -> Vec<SourceAnswer> {
    let noted = ActivitySource::ALL.iter().map(|source| (*source, sandbox.activity_by(*source)));
    let mut noted: Vec<_> = noted.filter(|(_, noted)| noted.count > 0).collect();
    noted.sort_by_key(|(_, noted)| std::cmp::Reverse(noted.last));
    let answer = |(source, noted): (ActivitySource, crate::domain::sandbox::ActivityCount)| SourceAnswer {
        source,
        count: noted.count,
        last_at: now.wall_at(noted.last),
    };
    noted.into_iter().map(answer).collect()
}
