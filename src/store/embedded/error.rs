//! Errors of the file, with advice what to do.

use std::{io, path::Path};

use redb::{DatabaseError, StorageError};

use crate::ports::store::StoreError;

/// Why an operation on the database failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Database(#[from] redb::Error),
    /// The file was written by a later version.
    #[error("it has format {found}, and this version of Sandglass knows up to {known}: use the version that wrote it")]
    Newer { found: u64, known: u64 },
}

/// Converts redb's error types, of which there is one per step, to its general one.
macro_rules! from_steps {
    ($($step:ty),+) => {
        $(impl From<$step> for Failure {
            fn from(error: $step) -> Self {
                Self::Database(error.into())
            }
        })+
    };
}

from_steps!(
    DatabaseError,
    StorageError,
    redb::TransactionError,
    redb::TableError,
    redb::CommitError,
    redb::SetDurabilityError,
    io::Error
);

impl Failure {
    /// Whether the file has to be opened again.
    pub(super) fn needs_reopening(&self) -> bool {
        matches!(
            self,
            Self::Database(
                redb::Error::Io(_)
                    | redb::Error::PreviousIo
                    | redb::Error::DatabaseClosed
                    | redb::Error::LockPoisoned(_)
            )
        )
    }

    /// Whether another process has the file open.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Database(redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch))
    }

    /// Converts to an error of the port, with the path and advice.
    pub(super) fn at(&self, path: &Path) -> StoreError {
        let advice = match self {
            Self::Database(redb::Error::Io(error)) => advice(error.kind()),
            Self::Database(redb::Error::Corrupted(_) | redb::Error::RepairAborted) => {
                ": restore it from a backup, or move it away to begin anew"
            }
            Self::Database(redb::Error::UpgradeRequired(_)) => ": use the version of Sandglass that wrote it",
            _ => "",
        };
        StoreError::Unavailable(format!("the store file {}: {self}{advice}", path.display()))
    }
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ": make it and its directory writable for the user that Sandglass runs as, or choose another `store.path`"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ": make room; the store goes on by itself"
        }
        io::ErrorKind::InvalidData => ": it is no store of Sandglass; move it away, or choose another `store.path`",
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => ": choose a file's path as `store.path`",
        _ => "",
    }
}
