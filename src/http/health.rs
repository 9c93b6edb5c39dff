//! The health of Sandglass itself.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::Data,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::json::json;
use crate::{
    domain::EpochSeconds,
    journal::StoreHealth,
    sandboxes::{RuntimeHealth, Sandboxes, ServingPhase},
    tasks::Trouble,
};

/// Whether requests are served, and which parts have problems.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// The state.
    status: ReadinessStatus,
    /// The parts that have problems. Some of them concern only the operator, so that Sandglass is ready all the same.
    reasons: Vec<Reason>,
}

/// Whether requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReadinessStatus {
    /// Everything works.
    Ready,
    /// Pings and reads work. Requests that need the part that is down wait or are refused.
    Degraded,
    /// Another supervisor is in charge; this one takes over when that one stops.
    Standby,
    /// Sandboxes are being restored.
    Starting,
    /// It is stopping.
    Stopping,
}

/// A part that has a problem.
#[derive(Debug, Serialize, ToSchema)]
struct Reason {
    /// `supervisor`, `store`, `runtime`, `tasks`, `store_settings` or `walls`.
    part: &'static str,
    /// Since when, if that is known.
    since: Option<EpochSeconds>,
    /// The problem.
    error: String,
}

/// The answer of a living process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Alive {
    /// Always `ok`.
    status: &'static str,
}

impl Readiness {
    fn of(sandboxes: &Sandboxes) -> Self {
        let part = |part, since, error: &str| Reason { part, since, error: error.to_owned() };
        let health = sandboxes.health();
        let phase = health.phase();
        let own = match phase {
            ServingPhase::Standby => {
                let holder = health.holder().unwrap_or_default();
                Some(part("supervisor", None, &format!("another supervisor is in charge: {holder}")))
            }
            ServingPhase::Starting => Some(part("supervisor", None, "sandboxes are being brought back from the store")),
            ServingPhase::Stopping => Some(part("supervisor", None, "it is stopping")),
            ServingPhase::Ready => None,
        };
        let store = match health.store() {
            StoreHealth::Up => None,
            StoreHealth::Down { since, error } => Some(part("store", Some(since), &error)),
            StoreHealth::Lost { holder } => Some(part("store", None, &format!("it has another supervisor: {holder}"))),
        };
        let runtime = match health.runtime() {
            // The engine has not been called yet; a create will find out.
            RuntimeHealth::Up | RuntimeHealth::Unknown => None,
            RuntimeHealth::Down { since, error } => Some(part("runtime", Some(since), &error)),
        };
        let broken = health.beyond_repair().map(|why| part("tasks", None, why));
        let (down, died): (Vec<_>, Vec<_>) = health.troubles().into_iter().partition(|trouble| trouble.down);
        let task = |trouble: Trouble| {
            let Trouble { task, since, error, down } = trouble;
            let now = if down { "is down" } else { "was started again" };
            part("tasks", Some(since), &format!("a bug in Sandglass: the task {task:?} died, and {now}: {error}"))
        };
        let mut reasons: Vec<_> = [own, store, runtime, broken].into_iter().flatten().collect();
        reasons.extend(down.into_iter().map(task));
        let status = match phase {
            ServingPhase::Standby => ReadinessStatus::Standby,
            ServingPhase::Starting => ReadinessStatus::Starting,
            ServingPhase::Stopping => ReadinessStatus::Stopping,
            ServingPhase::Ready if reasons.is_empty() => ReadinessStatus::Ready,
            ServingPhase::Ready => ReadinessStatus::Degraded,
        };
        // Problems for the operator, which do not affect clients.
        reasons.extend(health.hazards().iter().map(|hazard| part("store_settings", None, hazard)));
        reasons.extend(sandboxes.gap_in_walls().map(|gap| part("walls", None, &gap)));
        reasons.extend(died.into_iter().map(task));
        Self { status, reasons }
    }
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "operation", security(()),
    responses((status = 200, description = "It does", body = Alive)))]
pub(super) async fn healthz() -> HttpResponse {
    json(StatusCode::OK, &Alive { status: "ok" }, 16)
}

/// Whether requests are served, and which parts have problems.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "operation", security(()),
    responses(
        (status = 200, description = "Requests are served, by all of its parts", body = Readiness),
        (status = 503, description = "It starts, stops, waits for another one, or a part of it is down; the reasons say which", body = Readiness),
    ))]
pub(super) async fn readyz(sandboxes: Data<Sandboxes>) -> HttpResponse {
    let readiness = Readiness::of(&sandboxes);
    let ready = readiness.status == ReadinessStatus::Ready;
    json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &readiness, 256)
}

/// The metrics in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operation",
    responses((status = 200, description = "The counters", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")))]
pub(super) async fn metrics(sandboxes: Data<Sandboxes>) -> HttpResponse {
    const OPEN_METRICS: HeaderValue =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, OPEN_METRICS)).body(sandboxes.metrics())
}
