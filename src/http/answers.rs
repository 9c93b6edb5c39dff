//! What comes out: a sandbox as clients see it, and its deadlines
//! ([design: answers](crate::design::interface::answers)). Times are epoch seconds, durations seconds.

use std::{borrow::Cow, time::Duration};

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::{
    ToSchema,
    openapi::schema::{Object, SchemaType, Type},
};

use crate::domain::{
    ActivitySource, EndReason, EpochSeconds, Fields, Now, OnTimeout, Sandbox, SandboxId, Status,
    json::readable,
    sandbox::{Hold, RawFields, RuleClock},
};

/// A sandbox.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Sandbox)]
pub struct SandboxAnswer<'a> {
    /// Its identifier.
    #[schema(value_type = String)]
    sandbox_id: &'a SandboxId,
    /// Where it is in its sandbox.
    status: Status,
    /// Why it ended or is ending.
    reason: Option<EndReason>,
    /// What went wrong last, in words; while its removal fails, why.
    error_message: Option<&'a str>,
    /// The template it was made from.
    template: Option<&'a str>,
    /// The image it runs.
    image: Option<&'a str>,
    /// The container's id, once it has one.
    container_id: Option<&'a str>,
    /// The container's name.
    container_name: &'a str,
    /// Where its first port is reached.
    base_url: Option<&'a str>,
    /// Container ports and the addresses where they are reached: `{"80": "127.0.0.1:32768"}`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    ports: &'a Fields<Box<str>>,
    /// When it was asked for.
    created_at: EpochSeconds,
    /// When its container ran.
    started_at: Option<EpochSeconds>,
    /// When it was last used.
    last_activity_at: EpochSeconds,
    /// How long it may go unused; null: for ever.
    idle_timeout: Option<f64>,
    /// When the idle rule ends it, if nobody uses it; null while that rule does not apply.
    idle_deadline: Option<EpochSeconds>,
    /// Seconds until then.
    idle_remaining: Option<f64>,
    /// When its active timeout passes.
    expires_at: EpochSeconds,
    /// Seconds until then; null once it is ending.
    time_remaining: Option<f64>,
    /// Who holds it, by name; missing: nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    holds: Vec<HoldAnswer<'a>>,
    /// What the end of the active timeout does.
    on_timeout: OnTimeout,
    /// When Sandglass will act on it by itself: end it, or pause it.
    terminates_at: Option<EpochSeconds>,
    /// Whether its active timeout has not passed.
    active: bool,
    /// Seconds since its container ran.
    uptime: Option<f64>,
    /// What its owner wants remembered.
    #[serde(serialize_with = "readable_fields")]
    #[schema(value_type = Object)]
    metadata: &'a RawFields,
    /// The reference system's name for a template.
    shell_type: Option<&'a str>,
    /// Its owner: a number or a text.
    #[schema(schema_with = user_id_schema)]
    user_id: Option<Cow<'a, RawValue>>,
    /// Its owner's name.
    user_name: Option<&'a str>,
    /// Kept for the reference system.
    executor_namespace: Option<&'a str>,
    /// What it was last used by; null: nothing, since Sandglass was started.
    last_activity_by: Option<ActivitySource>,
    /// The exit code of its container, when that ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    /// When its end was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<EpochSeconds>,
    /// The end of what its container wrote, when that ended by itself: at most 20 lines and 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_output: Option<&'a str>,
}

/// About how long a sandbox becomes as JSON, beyond its own texts.
pub(super) const SANDBOX_CAPACITY: usize = 1024;

impl<'a> SandboxAnswer<'a> {
    /// `sandbox` as it is `now`.
    pub fn of(sandbox: &'a Sandbox, now: &Now) -> Self {
        let details = &sandbox.details;
        let deadlines = Deadlines::of(sandbox, now);
        let engine_error = details.engine_error.as_deref().filter(|_| !sandbox.is_gone());
        Self {
            sandbox_id: &details.id,
            status: deadlines.status,
            reason: sandbox.end().map(|end| end.reason),
            error_message: details.error_message.as_deref().or(engine_error),
            template: details.template.as_deref(),
            image: details.image.as_deref(),
            container_id: details.container_id.as_deref(),
            container_name: &details.container_name,
            base_url: details.base_url.as_deref(),
            ports: &details.ports,
            created_at: details.created_at,
            started_at: details.started_at,
            last_activity_at: deadlines.last_activity_at,
            idle_timeout: deadlines.idle_timeout,
            idle_deadline: deadlines.idle_deadline,
            idle_remaining: deadlines.idle_remaining,
            expires_at: deadlines.expires_at,
            time_remaining: deadlines.time_remaining,
            holds: holds(sandbox, now),
            on_timeout: sandbox.rules().on_timeout(),
            terminates_at: deadlines.terminates_at,
            active: deadlines.active,
            uptime: sandbox.uptime(now),
            metadata: &details.metadata,
            shell_type: details.shell_type.as_deref(),
            user_id: details.user_id.as_deref().map(readable),
            user_name: details.user_name.as_deref(),
            executor_namespace: details.executor_namespace.as_deref(),
            last_activity_by: sandbox.last_activity_by(),
            exit_code: sandbox.end().and_then(|end| end.exit_code),
            ended_at: sandbox.end().map(|end| now.wall_at(end.decided_at)),
            last_output: details.last_output.as_deref(),
        }
    }
}

/// A hold: while there is one, the idle clock stands still.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Hold)]
pub(super) struct HoldAnswer<'a> {
    /// What its owner calls it.
    name: &'a str,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// When it was taken.
    since: EpochSeconds,
    /// When it is over, unless it is renewed or released.
    until: EpochSeconds,
}

/// The holds on a sandbox that lives.
pub(super) fn holds<'a>(sandbox: &'a Sandbox, now: &Now) -> Vec<HoldAnswer<'a>> {
    let answer = |hold: &'a Hold| HoldAnswer {
        name: &hold.name,
        reason: hold.reason.as_deref(),
        since: now.wall_at(hold.since),
        until: now.wall_at(hold.until),
    };
    sandbox.holds(now.moment).filter(|_| sandbox.is_alive()).map(answer).collect()
}

/// A record may hold what some readers cannot take, and one sandbox must not hide all others in a list from them.
fn readable_fields<S: Serializer>(fields: &RawFields, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(name, raw)| (name, readable(raw))))
}

/// An owner's identifier is kept as it was written: a number or a text.
pub(super) fn user_id_schema() -> Object {
    let types = [Type::String, Type::Number, Type::Null];
    Object::builder()
        .schema_type(SchemaType::from_iter(types))
        .description(Some("Its owner: a number or a text."))
        .build()
}

/// How long a sandbox has: what a ping moves.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Deadlines {
    /// Where it is in its sandbox.
    status: Status,
    /// When it was last used.
    last_activity_at: EpochSeconds,
    /// How long it may go unused; null: for ever.
    idle_timeout: Option<f64>,
    /// When the idle rule ends it, if nobody uses it; null while that rule does not apply.
    idle_deadline: Option<EpochSeconds>,
    /// Seconds until then.
    idle_remaining: Option<f64>,
    /// When its active timeout passes.
    expires_at: EpochSeconds,
    /// Seconds until then; null once it is ending.
    time_remaining: Option<f64>,
    /// When Sandglass will act on it by itself: end it, or pause it.
    terminates_at: Option<EpochSeconds>,
    /// Whether its active timeout has not passed.
    active: bool,
}

impl Deadlines {
    /// Those of `life`, as they are `now`.
    pub fn of(sandbox: &Sandbox, now: &Now) -> Self {
        let idle_deadline = sandbox.idle_deadline();
        Self {
            status: sandbox.status(),
            last_activity_at: now.wall_at(sandbox.last_activity()),
            idle_timeout: sandbox.rules().after(RuleClock::Idle).as_ref().map(Duration::as_secs_f64),
            idle_deadline: idle_deadline.map(|at| now.wall_at(at)),
            idle_remaining: idle_deadline.map(|at| at.since(now.moment).as_secs_f64()),
            expires_at: now.wall_at(sandbox.expires_at()),
            time_remaining: sandbox.is_alive().then(|| sandbox.expires_at().since(now.moment).as_secs_f64()),
            terminates_at: sandbox.terminates_at().map(|at| now.wall_at(at)),
            active: sandbox.is_active(now.moment),
        }
    }
}

/// The answer to a ping.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pinged)]
pub struct PingAnswer<'a> {
    /// Whose.
    #[schema(value_type = String)]
    sandbox_id: &'a SandboxId,
    #[serde(flatten)]
    deadlines: Deadlines,
}

/// About how long the answer to a ping becomes as JSON.
pub(super) const PING_CAPACITY: usize = 512;

impl<'a> PingAnswer<'a> {
    /// The deadlines of `sandbox` as they are `now`.
    pub fn of(sandbox: &'a Sandbox, now: &Now) -> Self {
        Self { sandbox_id: sandbox.id(), deadlines: Deadlines::of(sandbox, now) }
    }
}
