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

    /// A field of the body, or a parameter, breaks `rule`.
    pub(super) fn field(field: &str, rule: impl fmt::Display) -> Self {
        ApiError::field(field, rule).into()
    }

    pub(super) fn of(error: &RequestError, now: &Now) -> Self {
        ApiError::of(error, now).into()
    }

    /// The same where a container may exist already. SDKs repeat every call that is answered with 429, 502, 503 or 504, and
    /// would make a second sandbox.
    #[must_use]
    pub(super) fn final_one(self) -> Self {
        let repeated = matches!(self.status.as_u16(), 429 | 502 | 503 | 504);
        let status = if repeated { StatusCode::INTERNAL_SERVER_ERROR } else { self.status };
        Self { status, ..self }
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
