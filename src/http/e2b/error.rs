//! Errors in the one shape that E2B's SDKs read: `{"code": 404, "message": "…"}`, where the code is the status.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use serde::Serialize;

use crate::{
    domain::Now,
    http::{
        error::{ApiError, Code},
        json::json,
    },
    sandboxes::RequestError,
    work::WorkError,
};

/// A refused or failed request.
#[derive(Clone, Debug)]
pub(in crate::http) struct Refusal {
    status: StatusCode,
    message: String,
    retry_after: Option<&'static str>,
}

#[derive(Serialize)]
struct Answer<'a> {
    code: u16,
    message: &'a str,
}

impl Refusal {
    pub(in crate::http) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// A field of the body, or a parameter, breaks `rule`.
    pub(super) fn field(field: &str, rule: impl fmt::Display) -> Self {
        ApiError::field(field, rule).into()
    }

    /// The answer to a request for a sandbox that may exist.
    pub(super) fn of(error: &RequestError, now: &Now) -> Self {
        Self::about_one(ApiError::of(error, now))
    }

    /// The answer to a request for the inside of a sandbox.
    pub(super) fn of_work(error: &WorkError, now: &Now) -> Self {
        Self::about_one(ApiError::of_work(error, now))
    }

    /// The answer to a request that was refused before it began anything.
    pub(super) fn before_all(error: &RequestError, now: &Now) -> Self {
        ApiError::of(error, now).into()
    }

    /// Only while nothing can be done at all, because it starts, stops or is not in charge, Sandglass asks for a repetition.
    fn about_one(error: ApiError) -> Self {
        match error.code() {
            Code::LimitReached | Code::RuntimeUnavailable => Self::from(error).final_one(),
            _ => error.into(),
        }
    }

    /// The same as "not found": what is paused is not there for some calls.
    #[must_use]
    pub(super) fn not_found(self) -> Self {
        Self { status: StatusCode::NOT_FOUND, ..self }
    }

    /// The same where a container may exist already, so that no SDK makes a second one ([design:
    /// repetitions](crate::design::e2b::repetitions)).
    #[must_use]
    pub(super) fn final_one(self) -> Self {
        let repeated = matches!(self.status.as_u16(), 429 | 502 | 503 | 504);
        let status = if repeated { StatusCode::INTERNAL_SERVER_ERROR } else { self.status };
        Self { status, retry_after: self.retry_after.filter(|_| !repeated), ..self }
    }
}

/// What native clients are told, in E2B's words: a sandbox that is ending or has ended is not found, and no failure of a
/// sandbox or its engine invites a client to repeat the call.
impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let code = error.code();
        let status = match code {
            Code::Gone | Code::Terminating => StatusCode::NOT_FOUND,
            Code::StartFailed | Code::RuntimeFailed => StatusCode::INTERNAL_SERVER_ERROR,
            _ => code.status(),
        };
        Self { status, retry_after: code.retry_after(), message: error.into_message() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.status.as_u16(), self.message)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(message = self.message, "a request by E2B's protocol failed");
        }
        let answer = Answer { code: self.status.as_u16(), message: &self.message };
        let mut response = json(self.status, &answer, 256);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}
