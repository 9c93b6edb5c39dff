//! Pings: one, or thousands in one request.

use std::borrow::Cow;

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Object, Ref, RefOr, Schema, schema::Type},
};

use super::{
    answers::{Deadlines, PING_CAPACITY, PingAnswer},
    body::{Body, NoBody},
    error::{ApiError, ErrorBody},
    extract::Id,
    json::json,
};
use crate::{
    domain::{ActivitySource, SandboxId},
    sandboxes::Sandboxes,
};

const MAX_BATCH: usize = 10_000;
/// How many pings of a batch are in flight: enough to share the store's round trips, and few enough that other requests of
/// the worker do not have to wait for all of them.
const CONCURRENT: usize = 2_500;

/// Pings a sandbox.
///
/// It counts as used, so its whole idle timeout is left. The body is empty.
#[utoipa::path(post, path = "/v1/sandboxes/{id}/activity", operation_id = "ping", tag = "activity",
    params(("id" = String, Path, description = "The sandbox")),
    responses((status = 200, description = "The clock is reset", body = PingAnswer)))]
pub(super) async fn ping(sandboxes: Data<Sandboxes>, Id(id): Id, _: NoBody) -> Result<HttpResponse, ApiError> {
    let pinged = sandboxes.touch(&id, ActivitySource::Ping).await;
    let now = sandboxes.now();
    match pinged {
        Ok(sandbox) => Ok(json(StatusCode::OK, &PingAnswer::of(&sandbox, &now), PING_CAPACITY)),
        Err(error) => Err(ApiError::of(&error, &now)),
    }
}

/// A batch of pings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct BatchRequest {
    /// The sandboxes, up to 10,000.
    #[schema(max_items = 10_000)]
    ids: Vec<String>,
}

/// The results of a batch of pings, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchAnswer<'a> {
    /// The results.
    results: Vec<BatchResult<'a>>,
}

/// The result of one ping of a batch.
#[derive(Debug, Serialize)]
pub(super) struct BatchResult<'a> {
    /// The id as it was sent.
    sandbox_id: &'a str,
    /// Whether the idle clock was reset.
    ok: bool,
    /// The deadlines, if it was.
    #[serde(flatten)]
    deadlines: Option<Deadlines>,
    /// The error, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
}

/// The schema includes the deadlines, all of which are optional.
impl PartialSchema for BatchResult<'_> {
    fn schema() -> RefOr<Schema> {
        let mut object = match Deadlines::schema() {
            RefOr::T(Schema::Object(deadlines)) => deadlines,
            _ => Object::default(),
        };
        let text =
            |description: &str| Object::builder().schema_type(Type::String).description(Some(description)).build();
        let ok = Object::builder().schema_type(Type::Boolean).description(Some("Whether the clock was reset.")).build();
        object.properties.insert("sandbox_id".to_owned(), text("The id as it was given.").into());
        object.properties.insert("ok".to_owned(), ok.into());
        object.properties.insert("error".to_owned(), Ref::from_schema_name(ErrorBody::name()).into());
        object.required = vec!["sandbox_id".to_owned(), "ok".to_owned()];
        let description = "What became of one ping among many: the deadlines when the clock was reset, else the error.";
        object.description = Some(description.to_owned());
        object.into()
    }
}

impl ToSchema for BatchResult<'_> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("BatchResult")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Deadlines::schemas(schemas);
        ErrorBody::schemas(schemas);
        schemas.push((ErrorBody::name().into_owned(), ErrorBody::schema()));
    }
}

/// Pings many sandboxes.
///
/// Each id has a result of its own, so an id that cannot be pinged does not affect the others.
#[utoipa::path(post, path = "/v1/activity", operation_id = "ping_many", tag = "activity",
    request_body = BatchRequest,
    responses((status = 200, description = "One answer per id, in the request's order", body = BatchAnswer)))]
pub(super) async fn ping_many(
    sandboxes: Data<Sandboxes>,
    Body(BatchRequest { ids }): Body<BatchRequest>,
) -> Result<HttpResponse, ApiError> {
    let outcomes = ping_each(&sandboxes, &ids, ActivitySource::Batch).await?;
    let answer = BatchAnswer { results: batch_results(&ids, &outcomes) };
    Ok(json(StatusCode::OK, &answer, PING_CAPACITY * (answer.results.len() + 1)))
}

/// Pings each of these ids and returns the outcomes in their order.
///
/// # Errors
/// If there are too many ids. None of them is pinged then.
pub(super) async fn ping_each(
    sandboxes: &Sandboxes,
    ids: &[String],
    source: ActivitySource,
) -> Result<Vec<Result<Deadlines, ApiError>>, ApiError> {
    if ids.len() > MAX_BATCH {
        return Err(ApiError::field("ids", format_args!("at most {MAX_BATCH}, not {}", ids.len())));
    }
    let pings = stream::iter(ids).map(|id| ping_one(sandboxes, id, source));
    Ok(pings.buffered(CONCURRENT).collect().await)
}

/// Combines the outcomes with their ids.
pub(super) fn batch_results<'a>(
    ids: &'a [String],
    outcomes: &'a [Result<Deadlines, ApiError>],
) -> Vec<BatchResult<'a>> {
    let results = ids.iter().zip(outcomes).map(|(id, outcome)| BatchResult {
        sandbox_id: id,
        ok: outcome.is_ok(),
        deadlines: outcome.as_ref().ok().cloned(),
        error: outcome.as_ref().err().map(ApiError::body),
    });
    results.collect()
}

async fn ping_one(sandboxes: &Sandboxes, id: &str, source: ActivitySource) -> Result<Deadlines, ApiError> {
    let id = SandboxId::parse(id).map_err(|invalid| ApiError::id(None, &invalid))?;
    let pinged = sandboxes.touch(&id, source).await;
    let now = sandboxes.now();
    match pinged {
        Ok(sandbox) => Ok(Deadlines::of(&sandbox, &now)),
        Err(error) => Err(ApiError::of(&error, &now)),
    }
}
