//! The create.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::Data,
};

use super::{
    answers::{SANDBOX_CAPACITY, SandboxAnswer},
    body::Body,
    connection::Link,
    error::{ApiError, Code, ErrorAnswer},
    json::json,
    query::{WaitForStart, wait_for_start},
};
use crate::sandboxes::{Create, Created, Sandboxes};

const HUNG_UP: &str = "the client closed its side of the connection before the answer: the sandbox, whose id nobody was told, \
                       ends when its start is done; keep the connection open, give an id, or ask with wait=0";

/// Creates a sandbox, or reuses the living one with the same id.
///
/// Answers when the sandbox runs or has failed; with `wait=0` at once. If a client gave no `id` and disconnects before the
/// answer, it cannot know the sandbox, which then ends as `requested` after its start unless it has been used. A sandbox
/// with an `id` stays.
#[utoipa::path(post, path = "/v1/sandboxes", operation_id = "create_sandbox", tag = "sandboxes",
    params(("wait" = inline(Option<WaitForStart>), Query, description = "`0` or `false`: don't wait for the start")),
    request_body(content = ref("#/components/schemas/CreateRequest"), description = "No body at all: a sandbox from the template `base`"),
    responses(
        (status = 201, description = "It runs", body = SandboxAnswer,
            headers(("Location" = String, description = "Where it is found"))),
        (status = 202, description = "With `wait=0`: it is recorded, and its start is under way", body = SandboxAnswer),
        (status = 200, description = "The id's sandbox was alive already; this counts as use", body = SandboxAnswer),
        (status = 400, description = "`invalid_request`, `invalid_id`", body = ErrorAnswer),
        (status = 409, description = "`conflict`, `terminating`", body = ErrorAnswer),
        (status = 410, description = "`gone`: with a very short timeout, it has run out already", body = ErrorAnswer),
        (status = 429, description = "`limit_reached`", body = ErrorAnswer),
        (status = 502, description = "`start_failed`: `details.sandbox` is what remains of it", body = ErrorAnswer),
        (status = 503, description = "`store_unavailable`, `runtime_unavailable`, `starting`, `stopping`",
            body = ErrorAnswer),
    ))]
pub(super) async fn create(
    sandboxes: Data<Sandboxes>,
    request: HttpRequest,
    Body(create): Body<Create>,
) -> Result<HttpResponse, ApiError> {
    let wait = wait_for_start(&request)?;
    let created = attended(&sandboxes, &request, create, wait).await?;
    let now = sandboxes.now();
    let (status, sandbox) = match created {
        Created::New(sandbox) => (StatusCode::CREATED, sandbox),
        Created::Pending(sandbox) => (StatusCode::ACCEPTED, sandbox),
        Created::Reused(sandbox) => (StatusCode::OK, sandbox),
    };
    let mut response = json(status, &SandboxAnswer::of(&sandbox, &now), SANDBOX_CAPACITY);
    // Ids consist of letters, digits, dots, dashes and underscores, so they are valid in a header.
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/sandboxes/{}", sandbox.id())) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Creates a sandbox as long as the client stays, if it waits for an id.
pub(super) async fn attended(
    sandboxes: &Sandboxes,
    request: &HttpRequest,
    create: Create,
    wait: bool,
) -> Result<Created, ApiError> {
    let created = match request.conn_data::<Link>() {
        Some(link) if wait && create.is_unannounced() => {
            let _held = link.hold();
            tokio::select! {
                biased;
                created = sandboxes.create(create, wait) => created,
                // Clients that close only their own side are rare, and look the same as those that are gone.
                () = link.ended() => return Err(ApiError::new(Code::InvalidRequest, HUNG_UP)),
            }
        }
        _ => sandboxes.create(create, wait).await,
    };
    created.map_err(|error| ApiError::of(&error, &sandboxes.now()))
}
