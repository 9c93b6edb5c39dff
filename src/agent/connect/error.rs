//! Errors as Connect tells them.

use std::io;

use serde::Serialize;

/// The kinds of errors, by their names in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    Canceled,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Unimplemented,
    Internal,
    Unauthenticated,
}

impl Code {
    /// The HTTP status of an error that is answered without a stream.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists => 409,
            Self::ResourceExhausted => 429,
            Self::Canceled => 499,
            Self::Internal => 500,
            Self::Unimplemented => 501,
            Self::DeadlineExceeded => 504,
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Error {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// The exit code that `docker exec` would have for a command that could not be started. Our addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exit_code: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// The client has hung up. It will not read this.
    pub(crate) fn hung_up() -> Self {
        Self::new(Code::Canceled, "the client has hung up")
    }

    /// What the operating system has refused: `doing` names what was tried and on what.
    pub(crate) fn io(doing: &str, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Code::PermissionDenied,
            io::ErrorKind::AlreadyExists => Code::AlreadyExists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
                Code::ResourceExhausted
            }
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::ArgumentListTooLong => Code::InvalidArgument,
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy => Code::FailedPrecondition,
            _ => match error.raw_os_error().map(nix::errno::Errno::from_raw) {
                Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE | nix::errno::Errno::EAGAIN) => {
                    Code::ResourceExhausted
                }
                Some(nix::errno::Errno::ELOOP) => Code::InvalidArgument,
                _ => Code::Internal,
            },
        };
        Self::new(code, format!("{doing}: {}", describe(error)))
    }
}

/// The operating system's words, without the number that the standard library adds.
fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}
