//! Refusals at the door of a sandbox: `{"sandboxId", "message", "port", "code"}`. E2B's SDKs read the status and the words.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use serde::Serialize;

use crate::{domain::Status, http::json::json, ports::inside::InsideError, sandboxes::RequestError, work::WorkError};

/// A sandbox that is gone, paused or unknown, in the words that SDKs look for.
const NOT_FOUND: &str = "The sandbox was not found";
/// After how many seconds a client may try again.
const AGAIN: &str = "1";

/// A request that does not get in.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refused {
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox_id: Option<String>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    code: u16,
}

impl Refused {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { sandbox_id: None, message: message.into(), port: None, code: status.as_u16() }
    }

    /// The sandbox is gone, paused or unknown.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::BAD_GATEWAY, NOT_FOUND)
    }

    /// Tells which sandbox.
    pub(super) fn of(self, sandbox: &str) -> Self {
        Self { sandbox_id: Some(sandbox.to_owned()), ..self }
    }

    pub(super) fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut response = json(status, self, 128);
        if matches!(self.code, 429 | 503) {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(AGAIN));
        }
        response
    }
}

impl From<&RequestError> for Refused {
    fn from(error: &RequestError) -> Self {
        let status = match error {
            RequestError::NotFound(_)
            | RequestError::Gone(_)
            | RequestError::Terminating { .. }
            | RequestError::Paused(_)
            | RequestError::Inactive(_) => return Self::not_found(),
            RequestError::WrongState { status: Status::Pending | Status::Running | Status::Paused, .. } => {
                StatusCode::CONFLICT
            }
            RequestError::WrongState { .. } => return Self::not_found(),
            RequestError::Invalid { .. } => StatusCode::BAD_REQUEST,
            RequestError::LimitReached(_) => StatusCode::TOO_MANY_REQUESTS,
            RequestError::StoreUnavailable(_)
            | RequestError::RuntimeUnavailable(_)
            | RequestError::Standby
            | RequestError::Starting
            | RequestError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<&WorkError> for Refused {
    fn from(error: &WorkError) -> Self {
        let status = match error {
            WorkError::Request(error) => return error.into(),
            WorkError::PortClosed(port) => {
                let message = "The sandbox is running but port is not open";
                return Self { port: Some(*port), ..Self::new(StatusCode::BAD_GATEWAY, message) };
            }
            WorkError::PortFailed(_, port, _) => {
                // The program may have done what was asked, so nobody is invited to ask again.
                return Self { port: Some(*port), ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()) };
            }
            WorkError::Inside(InsideError::NotRunning(_)) => return Self::not_found(),
            WorkError::Inside(InsideError::Unreachable(_)) => StatusCode::SERVICE_UNAVAILABLE,
            WorkError::Inside(InsideError::NoAgent(_)) => StatusCode::NOT_IMPLEMENTED,
            WorkError::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
            WorkError::Inside(InsideError::Failed(_)) | WorkError::Refused { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            // What was asked may have been done, so nobody is invited to ask again.
            WorkError::Broken(..) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}
