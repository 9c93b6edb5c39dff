//! Failures of `/files`, which tells them by HTTP's own statuses.

use std::{io, path::Path};

use crate::{
    body::{self, Response},
    connect::{Code, Error},
};

/// Why a transfer failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into() }
    }

    /// What the operating system has refused on a path. A full disk is 507, as in E2B.
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        let told = Error::io(&path.display().to_string(), error);
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if full { Self { status: 507, message: told.message } } else { Self::from(told) }
    }

    /// The same as an answer.
    pub(super) fn response(&self) -> Response {
        body::error(self.status, &self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.code {
            // A directory that exists where a file has to be made, say.
            Code::AlreadyExists => 400,
            code => code.status(),
        };
        Self { status, message: error.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_507_and_a_missing_file_404() {
        let status = |kind: io::ErrorKind| Failure::io(Path::new("/f"), &kind.into()).status;
        for (kind, expected) in [
            (io::ErrorKind::StorageFull, 507),
            (io::ErrorKind::QuotaExceeded, 507),
            (io::ErrorKind::FileTooLarge, 507),
            (io::ErrorKind::NotFound, 404),
            (io::ErrorKind::PermissionDenied, 403),
            (io::ErrorKind::NotADirectory, 400),
            (io::ErrorKind::AlreadyExists, 400),
        ] {
            assert_eq!(status(kind), expected, "{kind:?}");
        }
    }
}
