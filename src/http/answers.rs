//! Answers: a sandbox as clients see it, and its deadlines ([design: answers](crate::design::interface::answers)). Times
//! are epoch seconds, durations are seconds.

use std::{borrow::Cow, time::Duration};

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::{
    ToSchema,
    openapi::schema::{Object, SchemaType, Type},
};

use crate::domain::{
    ActivitySource, EndReason, EpochSeconds, Fields, Now, OnTimeout, Sandbox, SandboxId, Status,
    egress::{Network, Ranges},
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
    /// Its status.
    status: Status,
    /// Why it ended or is ending; null while it lives.
    reason: Option<EndReason>,
    /// The last error; while its removal fails, the error of that.
    error_message: Option<&'a str>,
    /// The template it was made from.
    template: Option<&'a str>,
    /// The image it runs.
    image: Option<&'a str>,
    /// The container's id, once it has one.
    container_id: Option<&'a str>,
    /// The container's name.
    container_name: &'a str,
    /// The address of its first port, as a URL.
    base_url: Option<&'a str>,
    /// Container ports and the addresses where they are reached: `{"80": "127.0.0.1:32768"}`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    ports: &'a Fields<Box<str>>,
    /// When it was requested.
    created_at: EpochSeconds,
    /// When its container started.
    started_at: Option<EpochSeconds>,
    /// When it was last used.
    last_activity_at: EpochSeconds,
    /// Its idle timeout in seconds; null if it has none.
    idle_timeout: Option<f64>,
    /// When the idle timeout ends it unless it is used; null while it does not apply.
    idle_deadline: Option<EpochSeconds>,
    /// Seconds until then.
    idle_remaining: Option<f64>,
    /// When its active timeout passes.
    expires_at: EpochSeconds,
    /// Seconds until then; null once it is ending.
    time_remaining: Option<f64>,
    /// The holds on it, sorted by name; missing if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    holds: Vec<HoldAnswer<'a>>,
    /// What happens at the end of the active timeout.
    on_timeout: OnTimeout,
    /// When Sandglass will end or pause it by itself; null if it will not.
    terminates_at: Option<EpochSeconds>,
    /// Whether its active timeout has not passed.
    active: bool,
    /// Seconds since its container started.
    uptime: Option<f64>,
    /// The metadata of the request.
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
    /// What it was last used by; null if it was not used since Sandglass was started.
    last_activity_by: Option<ActivitySource>,
    /// The network that it is on: `isolated`, `internal`, `none`, `default` or a name; null if that is not known.
    network: Option<&'a str>,
    /// What it may reach by its client's rules; missing if it is on no isolated network.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    egress: Option<EgressAnswer>,
    /// What it may reach by its template's rules; missing if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    template_egress: Option<EgressAnswer>,
    /// The exit code of its container, if that ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    /// When its end was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<EpochSeconds>,
    /// The last output of its container, if that ended by itself: at most 20 lines and 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_output: Option<&'a str>,
}

/// The approximate size of a sandbox's JSON, without its own texts.
pub(super) const SANDBOX_CAPACITY: usize = 1024;

impl<'a> SandboxAnswer<'a> {
    /// The answer for `sandbox` at `now`.
    pub fn of(sandbox: &'a Sandbox, now: &Now) -> Self {
        let details = &sandbox.details;
        let (egress, template_egress) = EgressAnswer::of(sandbox);
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
            network: details.network.as_ref().map(Network::as_str),
            egress,
            template_egress,
            exit_code: sandbox.end().and_then(|end| end.exit_code),
            ended_at: sandbox.end().map(|end| now.wall_at(end.decided_at)),
            last_output: details.last_output.as_deref(),
        }
    }
}

/// A hold. The idle clock stands still while there is one.
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

/// Ranges of addresses that a sandbox may and may not reach.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Egress)]
pub(super) struct EgressAnswer {
    /// What it may reach although `deny` includes it.
    #[schema(value_type = Vec<String>)]
    allow: Vec<IpNet>,
    /// What it may not reach.
    #[schema(value_type = Vec<String>)]
    deny: Vec<IpNet>,
}

impl EgressAnswer {
    /// The client's rules and the template's, if those are not empty; none without walls.
    pub(super) fn of(sandbox: &Sandbox) -> (Option<Self>, Option<Self>) {
        let egress = sandbox.egress();
        let (request, template) = (Self::from(egress.request), Self::from(egress.template));
        let says_nothing = template.allow.is_empty() && template.deny.is_empty();
        (Some(request).filter(|_| sandbox.has_walls()), Some(template).filter(|_| !says_nothing))
    }
}

impl From<Ranges> for EgressAnswer {
    fn from(Ranges { allow, deny }: Ranges) -> Self {
        Self { allow, deny }
    }
}

/// The holds on a living sandbox.
pub(super) fn holds<'a>(sandbox: &'a Sandbox, now: &Now) -> Vec<HoldAnswer<'a>> {
    let answer = |hold: &'a Hold| HoldAnswer {
        name: &hold.name,
        reason: hold.reason.as_deref(),
        since: now.wall_at(hold.since),
        until: now.wall_at(hold.until),
    };
    sandbox.holds(now.moment).filter(|_| sandbox.is_alive()).map(answer).collect()
}

/// Repairs raw JSON that some parsers reject, so that one record does not make a whole list unreadable.
fn readable_fields<S: Serializer>(fields: &RawFields, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(name, raw)| (name, readable(raw))))
}

/// The schema of an owner's identifier: a number or a text.
pub(super) fn user_id_schema() -> Object {
    let types = [Type::String, Type::Number, Type::Null];
    Object::builder()
        .schema_type(SchemaType::from_iter(types))
        .description(Some("Its owner: a number or a text."))
        .build()
}

/// The deadlines of a sandbox, which a ping moves.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Deadlines {
    /// Its status.
    status: Status,
    /// When it was last used.
    last_activity_at: EpochSeconds,
    /// Its idle timeout in seconds; null if it has none.
    idle_timeout: Option<f64>,
    /// When the idle timeout ends it unless it is used; null while it does not apply.
    idle_deadline: Option<EpochSeconds>,
    /// Seconds until then.
    idle_remaining: Option<f64>,
    /// When its active timeout passes.
    expires_at: EpochSeconds,
    /// Seconds until then; null once it is ending.
    time_remaining: Option<f64>,
    /// When Sandglass will end or pause it by itself; null if it will not.
    terminates_at: Option<EpochSeconds>,
    /// Whether its active timeout has not passed.
    active: bool,
}

impl Deadlines {
    /// The deadlines of `sandbox` at `now`.
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
    /// The sandbox.
    #[schema(value_type = String)]
    sandbox_id: &'a SandboxId,
    #[serde(flatten)]
    deadlines: Deadlines,
}

/// The approximate size of the JSON for a ping.
pub(super) const PING_CAPACITY: usize = 512;

impl<'a> PingAnswer<'a> {
    /// The answer to a ping of `sandbox` at `now`.
    pub fn of(sandbox: &'a Sandbox, now: &Now) -> Self {
        Self { sandbox_id: sandbox.id(), deadlines: Deadlines::of(sandbox, now) }
    }
}
