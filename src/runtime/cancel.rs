//! Work that a cancelled start leaves.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::ports::runtime::RuntimeError;

/// Awaits `work`, unless `cancel` comes first. For work that may be dropped anywhere.
pub(super) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(RuntimeError::Cancelled),
        outcome = work => outcome,
    }
}
