//! Classifies errors of calls: unreachable or failed.

use std::time::Duration;

use bollard::errors::Error;

use super::host::Host;
use crate::{ports::runtime::RuntimeError, runtime::causes::with_causes};

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
/// The answers of a proxy in front of an engine that is down.
const BAD_GATEWAY: u16 = 502;
const UNAVAILABLE: u16 = 503;
const GATEWAY_TIMEOUT: u16 = 504;

/// The answer of a TLS server to a plain request, which never reaches the engine.
const WANTS_TLS: &str = "HTTP request to an HTTPS server";

/// Why a call failed, before it becomes an error of the port.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The connection failed. With `sent`, the request may have reached the engine before.
    #[error("{message}")]
    Unreachable { message: String, sent: bool },
    /// The engine answered with an error.
    #[error("{message}")]
    Refused { status: u16, message: String },
    /// The engine did not answer in time.
    #[error("the engine did not answer within {0:?}")]
    TimedOut(Duration),
    /// The engine has no image.
    #[error("the engine has no image yet")]
    NoImage,
    /// Anything else, such as an unreadable answer.
    #[error("{0}")]
    Broken(String),
}

impl CallError {
    pub(super) fn new(host: &Host, error: Error) -> Self {
        let unreachable = |error: &dyn std::error::Error, sent| Self::Unreachable {
            message: format!("{host}: {}", with_causes(error)),
            sent,
        };
        match error {
            Error::DockerResponseServerError { message, .. } if message.contains(WANTS_TLS) => Self::Unreachable {
                message: format!("{host}: it asks for TLS: set docker.tls = true, or DOCKER_TLS_VERIFY"),
                sent: false,
            },
            Error::DockerResponseServerError {
                status_code: status @ (BAD_GATEWAY | UNAVAILABLE | GATEWAY_TIMEOUT),
                message,
            } => Self::Unreachable { message: format!("{host}: HTTP {status}: {}", message.trim()), sent: true },
            Error::DockerResponseServerError { status_code, message } => Self::Refused { status: status_code, message },
            Error::SocketNotFoundError(_) => {
                Self::Unreachable { message: format!("{host}: there is no such socket"), sent: false }
            }
            Error::HyperLegacyError { err } => unreachable(&err, !err.is_connect()),
            Error::HyperResponseError { err } => unreachable(&err, true),
            Error::IOError { err } => unreachable(&err, true),
            Error::RequestTimeoutError => Self::Broken("the engine did not answer".to_owned()),
            Error::DockerStreamError { error } => Self::Broken(error),
            other => Self::Broken(with_causes(&other)),
        }
    }

    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: NOT_FOUND, .. })
    }

    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: CONFLICT, .. })
    }

    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the engine may have executed the call, or may still do so.
    pub(super) fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Unreachable { sent: true, .. } | Self::TimedOut(_) | Self::Broken(_))
    }

    /// Converts to an error of the port; `deed` completes "failed to …".
    pub(super) fn during(self, deed: &str) -> RuntimeError {
        match self {
            Self::Unreachable { message, .. } => RuntimeError::Unreachable(message),
            other => RuntimeError::Failed(format!("failed to {deed}: {}", other.to_string().trim_end())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_asks_for_tls_is_out_of_reach_until_the_setting_says_so() {
        let message = "Client sent an HTTP request to an HTTPS server.\n".to_owned();
        let error = Error::DockerResponseServerError { status_code: 400, message };
        let told = CallError::new(&Host::Http("engine:2376".to_owned()), error).during("ping the engine");
        assert!(matches!(&told, RuntimeError::Unreachable(message) if message.contains("docker.tls = true")), "{told}");
    }

    #[test]
    fn a_proxy_that_answers_for_an_engine_that_is_away_is_not_the_engine_s_word() {
        let answer = |status_code| {
            let error = Error::DockerResponseServerError { status_code, message: "no server".to_owned() };
            CallError::new(&Host::Http("docker:2375".to_owned()), error).during("start the container")
        };
        for status in [BAD_GATEWAY, UNAVAILABLE, GATEWAY_TIMEOUT] {
            assert!(matches!(answer(status), RuntimeError::Unreachable(_)), "{status}");
        }
        assert!(matches!(answer(500), RuntimeError::Failed(_)));
    }
}
