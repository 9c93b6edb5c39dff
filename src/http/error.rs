//! Errors: their shape, and the status codes of domain errors.

use std::{collections::BTreeMap, fmt};

use actix_web::{
    HttpResponse, HttpResponseBuilder, Responder, ResponseError,
    body::BoxBody,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::{answers::SandboxAnswer, json::json_bytes};
use crate::{
    domain::{EndReason, Now, Status},
    sandboxes::RequestError,
};

/// Declares the codes, each with its word and status. A word is a `tt` so that derives see it.
macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $word:tt, $status:ident;)+) => {
        /// What went wrong, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
        #[schema(as = ErrorCode)]
        pub enum Code { $($(#[$doc])* #[serde(rename = $word)] $code,)+ }

        impl Code {
            /// The status that it is answered with.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$code => StatusCode::$status,)+ }
            }

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => $word,)+ }
            }
        }
    };
}

codes! {
    /// The request breaks a rule; `details.field` names the field or parameter, if there is one.
    InvalidRequest = "invalid_request", BAD_REQUEST;
    /// A value cannot be an id.
    InvalidId = "invalid_id", BAD_REQUEST;
    /// The API key is missing or wrong.
    Unauthorized = "unauthorized", UNAUTHORIZED;
    /// The user may not do that in the sandbox.
    Forbidden = "forbidden", FORBIDDEN;
    /// A browser sent the request for another site.
    CrossOrigin = "cross_origin", FORBIDDEN;
    /// There is no such sandbox or path.
    NotFound = "not_found", NOT_FOUND;
    /// The path does not support the method; `Allow` lists those that it does.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The sandbox is ending; `details.reason` says why.
    Terminating = "terminating", CONFLICT;
    /// The request needs another status than `details.status`.
    WrongState = "wrong_state", CONFLICT;
    /// The sandbox is frozen, and no work can be done in it.
    Paused = "paused", CONFLICT;
    /// The sandbox's active timeout has passed, and no work is begun in it.
    Inactive = "inactive", CONFLICT;
    /// The id belongs to a sandbox from another template or image.
    Conflict = "conflict", CONFLICT;
    /// The sandbox has ended; `details` has `status`, `reason`, `exit_code` and `ended_at`.
    Gone = "gone", GONE;
    /// The body is larger than `http.max_body_bytes`.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE;
    /// The head of the request did not arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT;
    /// The head of the request is larger than 128 KiB, or has more than 96 headers.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// A configured limit is reached; try again later.
    LimitReached = "limit_reached", TOO_MANY_REQUESTS;
    /// A bug of Sandglass.
    Internal = "internal", INTERNAL_SERVER_ERROR;
    /// The sandbox did not start; `details.sandbox` describes it.
    StartFailed = "start_failed", BAD_GATEWAY;
    /// No work can be done in the sandbox; the message says why, and what to do.
    NoAgent = "no_agent", NOT_IMPLEMENTED;
    /// The sandbox's disk is full.
    DiskFull = "disk_full", INSUFFICIENT_STORAGE;
    /// The container engine failed; the sandbox is unchanged.
    RuntimeFailed = "runtime_failed", BAD_GATEWAY;
    /// The store is down, and nothing is started that could not be recorded.
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE;
    /// The container engine is down.
    RuntimeUnavailable = "runtime_unavailable", SERVICE_UNAVAILABLE;
    /// Another supervisor is in charge; this one takes over when that one stops.
    Standby = "standby", SERVICE_UNAVAILABLE;
    /// Sandboxes are being restored.
    Starting = "starting", SERVICE_UNAVAILABLE;
    /// Sandglass is stopping.
    Stopping = "stopping", SERVICE_UNAVAILABLE;
}

impl Code {
    /// The seconds after which a retry may succeed.
    pub(super) fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::Standby | Self::Starting => Some("1"),
            Self::LimitReached | Self::StoreUnavailable | Self::RuntimeUnavailable => Some("2"),
            Self::Stopping => Some("5"),
            _ => None,
        }
    }
}

/// An error as an answer.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: Code,
    message: String,
    details: Option<Box<RawValue>>,
}

/// The shape of all errors.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorAnswer<'a> {
    /// What went wrong.
    pub(super) error: ErrorBody<'a>,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErrorBody)]
pub(super) struct ErrorBody<'a> {
    /// The code, for programs.
    code: Code,
    /// The message, for people.
    message: &'a str,
    /// More details, which depend on the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    details: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct OfEnd {
    status: Status,
    reason: Option<EndReason>,
    exit_code: Option<i64>,
    ended_at: Option<f64>,
}

impl ApiError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None }
    }

    /// A field of the body, or a parameter, breaks `rule`.
    pub(super) fn field(field: &str, rule: impl fmt::Display) -> Self {
        Self::new(Code::InvalidRequest, format!("{field}: {rule}")).with_one("field", field)
    }

    /// An invalid id; `field` is its place in the body or the query, if it has one.
    pub(super) fn id(field: Option<&str>, invalid: impl fmt::Display) -> Self {
        let error = Self::new(Code::InvalidId, invalid.to_string());
        match field {
            Some(field) => error.with_one("field", field),
            None => error,
        }
    }

    pub(super) fn with(mut self, details: &impl Serialize) -> Self {
        // Details consist of numbers and strings, so they can always be serialized.
        self.details = to_raw_value(details).ok();
        self
    }

    fn with_one(self, name: &str, value: impl Serialize) -> Self {
        self.with(&BTreeMap::from([(name, value)]))
    }

    /// The answer to a request that failed with `error`.
    pub(super) fn of(error: &RequestError, now: &Now) -> Self {
        let code = match error {
            RequestError::NotFound(_) | RequestError::NoSuchHold(_) => Code::NotFound,
            RequestError::Gone(_) => Code::Gone,
            RequestError::Terminating { .. } => Code::Terminating,
            RequestError::WrongState { .. } => Code::WrongState,
            RequestError::Paused(_) => Code::Paused,
            RequestError::Inactive(_) => Code::Inactive,
            RequestError::Invalid { .. } => Code::InvalidRequest,
            RequestError::Conflict(_) => Code::Conflict,
            RequestError::LimitReached(_) => Code::LimitReached,
            RequestError::StoreUnavailable(_) => Code::StoreUnavailable,
            RequestError::RuntimeUnavailable(_) => Code::RuntimeUnavailable,
            RequestError::RuntimeFailed(_) => Code::RuntimeFailed,
            RequestError::StartFailed(_) => Code::StartFailed,
            RequestError::Standby => Code::Standby,
            RequestError::Starting => Code::Starting,
            RequestError::Stopping => Code::Stopping,
            RequestError::Unanswered | RequestError::Internal(_) => Code::Internal,
        };
        let answer = Self::new(code, error.to_string());
        match error {
            RequestError::Gone(sandbox) => {
                let end = sandbox.end();
                answer.with(&OfEnd {
                    status: sandbox.status(),
                    reason: end.map(|end| end.reason),
                    exit_code: end.and_then(|end| end.exit_code),
                    ended_at: end.map(|end| now.wall_at(end.decided_at)),
                })
            }
            RequestError::Terminating { reason, .. } => answer.with_one("reason", reason),
            RequestError::WrongState { status, .. } => answer.with_one("status", status),
            RequestError::Invalid { field, .. } => answer.with_one("field", field),
            RequestError::StartFailed(sandbox) => answer.with_one("sandbox", SandboxAnswer::of(sandbox, now)),
            _ => answer,
        }
    }

    /// What went wrong.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What went wrong, for people.
    pub(super) fn into_message(self) -> String {
        self.message
    }

    /// The error as part of an answer.
    pub(super) fn body(&self) -> ErrorBody<'_> {
        ErrorBody { code: self.code, message: &self.message, details: self.details.as_deref() }
    }

    /// The whole answer as JSON.
    pub(super) fn json(&self) -> Vec<u8> {
        json_bytes(&ErrorAnswer { error: self.body() }, 256)
    }

    fn response(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.code.status());
        response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        if let Some(seconds) = self.code.retry_after() {
            response.insert_header((header::RETRY_AFTER, HeaderValue::from_static(seconds)));
        }
        if self.code == Code::Unauthorized {
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        response
    }

    /// The answer with an additional header.
    pub(super) fn respond_with(&self, name: HeaderName, value: &str) -> HttpResponse {
        self.response().insert_header((name, value)).body(self.json())
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code.as_str(), self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        if self.code == Code::Internal {
            tracing::error!(message = self.message, "a request failed by our own fault");
        }
        self.response().body(self.json())
    }
}

impl Responder for ApiError {
    type Body = BoxBody;

    fn respond_to(self, _: &actix_web::HttpRequest) -> HttpResponse<BoxBody> {
        self.error_response()
    }
}
