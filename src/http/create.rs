//! Creating sandboxes.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::Data,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    answers::{SANDBOX_CAPACITY, SandboxAnswer, user_id_schema},
    body::{Body, object_or_null},
    connection::Link,
    error::{ApiError, Code, ErrorAnswer},
    json::json,
    query::{WaitForStart, wait_for_start},
};
use crate::{
    domain::{
        OnTimeout, SandboxId,
        leaf::{EnvName, ImageRef, Leaf, Ports, Text, Timeout},
        record::{Presence, UserId},
        sandbox::RawFields,
        spec::Limits,
    },
    sandboxes::{Create, Created, Sandboxes},
};

const HUNG_UP: &str = "the client closed its side of the connection before the answer: the sandbox, whose id nobody was told, \
                       ends when its start is done; keep the connection open, give an id, or ask with wait=0";

/// What a new sandbox shall be. Everything that is left out comes from the template.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct CreateRequest {
    /// An id of the client's own; it makes the request idempotent: an active sandbox under it is reused.
    id: Option<String>,
    /// The template's name; `base` when there is none.
    template: Option<String>,
    /// Another image than the template's; the configuration has to allow it.
    #[schema(value_type = Option<String>)]
    image: Option<ImageRef>,
    /// Another command.
    #[schema(value_type = Option<Vec<String>>)]
    command: Option<Vec<Text>>,
    /// Environment variables, beside and over the template's.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    env: Option<BTreeMap<EnvName, Text>>,
    /// Other TCP ports to publish.
    #[schema(value_type = Option<Vec<u16>>)]
    ports: Option<Ports>,
    /// Tighter limits.
    #[serde(default, deserialize_with = "object_or_null")]
    limits: Option<Limits>,
    /// Seconds it may go unused, more than 0, or a duration such as "1h 30m"; null: for ever, where the configuration allows
    /// it.
    #[serde(default)]
    #[schema(value_type = Option<f64>)]
    idle_timeout: Presence<Timeout>,
    /// Seconds it stays active, more than 0, or a duration such as "30m".
    #[schema(value_type = Option<f64>)]
    timeout: Option<Timeout>,
    /// What the end of the active timeout does.
    on_timeout: Option<OnTimeout>,
    /// To be remembered, and to be listed by.
    #[schema(value_type = Option<Object>)]
    metadata: Option<RawFields>,
    /// The reference system's name for a template.
    shell_type: Option<String>,
    /// The owner: a number or a text.
    #[schema(schema_with = user_id_schema)]
    user_id: Option<UserId>,
    /// The owner's name.
    user_name: Option<String>,
    /// Kept for the reference system.
    executor_namespace: Option<String>,
}

impl CreateRequest {
    fn into_create(self) -> Result<Create, ApiError> {
        let id = self.id.as_deref().map(SandboxId::parse).transpose();
        Ok(Create {
            id: id.map_err(|invalid| ApiError::id(Some("id"), &invalid))?,
            template: self.template,
            image: self.image,
            command: self.command,
            env: self.env.unwrap_or_default(),
            ports: self.ports,
            limits: self.limits,
            idle_timeout: match self.idle_timeout {
                Presence::Absent => None,
                Presence::Null => Some(None),
                Presence::Value(timeout) => Some(Some(timeout.plain())),
            },
            timeout: self.timeout.plain(),
            on_timeout: self.on_timeout,
            metadata: self.metadata.unwrap_or_default(),
            shell_type: self.shell_type,
            user_id: self.user_id.map(|UserId(raw)| raw),
            user_name: self.user_name,
            executor_namespace: self.executor_namespace,
        })
    }
}

/// Creates a sandbox, or finds the one that stands under the id already.
///
/// Answers when the sandbox runs or has failed; with `wait=0` at once. A client that hangs up before the answer, and gave
/// no `id`, cannot know which sandbox is its own: that one ends as `requested` when its start is done, unless somebody has
/// used it by then. With an `id` it stays, and can be asked for.
#[utoipa::path(post, path = "/v1/sandboxes", operation_id = "create_sandbox", tag = "sandboxes",
    params(("wait" = inline(Option<WaitForStart>), Query, description = "`0` or `false`: don't wait for the start")),
    request_body(content = CreateRequest, description = "No body at all: a sandbox from the template `base`"),
    responses(
        (status = 201, description = "It runs", body = SandboxAnswer,
            headers(("Location" = String, description = "Where it is found"))),
        (status = 202, description = "With `wait=0`: it is recorded, and its start is under way", body = SandboxAnswer),
        (status = 200, description = "The id's sandbox was alive already; this counts as use", body = SandboxAnswer),
        (status = 400, description = "`invalid_request`, `invalid_id`", body = ErrorAnswer),
        (status = 409, description = "`conflict`, `terminating`", body = ErrorAnswer),
        (status = 410, description = "`gone`: with a very short timeout, it has run out already", body = ErrorAnswer),
        (status = 413, description = "`too_large`", body = ErrorAnswer),
        (status = 429, description = "`limit_reached`", body = ErrorAnswer),
        (status = 502, description = "`start_failed`: `details.sandbox` is what remains of it", body = ErrorAnswer),
        (status = 503, description = "`store_unavailable`, `runtime_unavailable`, `starting`, `stopping`",
            body = ErrorAnswer),
    ))]
pub(super) async fn create(
    sandboxes: Data<Sandboxes>,
    request: HttpRequest,
    Body(create): Body<CreateRequest>,
) -> Result<HttpResponse, ApiError> {
    let wait = wait_for_start(&request)?;
    let create = create.into_create()?;
    let created = match request.conn_data::<Link>() {
        Some(link) if wait && create.id.is_none() => {
            let _held = link.hold();
            tokio::select! {
                biased;
                created = sandboxes.create(create, wait) => created,
                // Clients that only close their own side are rare, and cannot be told from those that are gone.
                () = link.ended() => return Err(ApiError::new(Code::InvalidRequest, HUNG_UP)),
            }
        }
        _ => sandboxes.create(create, wait).await,
    };
    let now = sandboxes.now();
    let (status, sandbox) = match created {
        Ok(Created::New(sandbox)) => (StatusCode::CREATED, sandbox),
        Ok(Created::Pending(sandbox)) => (StatusCode::ACCEPTED, sandbox),
        Ok(Created::Reused(sandbox)) => (StatusCode::OK, sandbox),
        Err(error) => return Err(ApiError::of(&error, &now)),
    };
    let mut response = json(status, &SandboxAnswer::of(&sandbox, &now), SANDBOX_CAPACITY);
    // Ids are letters, digits, dots, dashes and underscores: every one of them fits a header.
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/sandboxes/{}", sandbox.id())) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}
