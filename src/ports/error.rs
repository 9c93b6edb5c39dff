//! Why calls to the engine fail, for both interfaces that make them.

/// Why a call to the engine failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The engine cannot be reached.
    #[error("the container engine cannot be reached: {0}")]
    Unreachable(String),
    /// The engine refused, failed, or took too long.
    #[error("{0}")]
    Failed(String),
    /// The start was cancelled.
    #[error("cancelled")]
    Cancelled,
}
