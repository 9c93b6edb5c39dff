//! What work that was not done is answered with.

use super::super::error::{ApiError, Code};
use crate::{domain::Now, ports::inside::InsideError, work::WorkError};

impl ApiError {
    /// What work that was not done is answered with.
    pub(in crate::http) fn of_work(error: &WorkError, now: &Now) -> Self {
        let code = match error {
            WorkError::Request(error) => return Self::of(error, now),
            WorkError::Inside(InsideError::Unreachable(_)) => Code::RuntimeUnavailable,
            WorkError::Inside(InsideError::NotRunning(_)) => Code::WrongState,
            WorkError::Inside(InsideError::NoAgent(_)) => Code::NoAgent,
            WorkError::Inside(InsideError::Failed(_)) | WorkError::Broken(..) => Code::RuntimeFailed,
            WorkError::PortClosed(_) | WorkError::PortFailed(..) => Code::RuntimeFailed,
            WorkError::Busy(_) => Code::LimitReached,
            WorkError::Refused { code, .. } => match &**code {
                "not_found" => Code::NotFound,
                "invalid_argument" | "out_of_range" => Code::InvalidRequest,
                "permission_denied" | "unauthenticated" => Code::Forbidden,
                "resource_exhausted" => Code::LimitReached,
                "already_exists" | "failed_precondition" | "aborted" => Code::Conflict,
                "disk_full" => Code::DiskFull,
                _ => Code::RuntimeFailed,
            },
        };
        // The agent has the fields of a command in an object of their own.
        let message = error.to_string();
        let answer = Self::new(code, message.strip_prefix("process.").unwrap_or(&message));
        match error {
            WorkError::Refused { exit_code: Some(code), .. } => answer.with(&serde_json::json!({ "exit_code": code })),
            _ => answer,
        }
    }
}
