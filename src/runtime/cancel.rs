//! Work that cancelling a start interrupts.

use tokio_util::sync::CancellationToken;

use crate::ports::runtime::RuntimeError;

/// Awaits `work` until `cancel` drops it.
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
