//! Why work was not done.

use crate::{domain::SandboxId, ports::inside::InsideError, sandboxes::RequestError};

/// Why work was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WorkError {
    /// The sandbox cannot be worked in.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Its inside cannot be reached.
    #[error(transparent)]
    Inside(#[from] InsideError),
    /// As much work is under way in it as can be.
    #[error("{0} calls are under way in the sandbox, which is the most; wait until one has ended")]
    Busy(usize),
    /// The agent refused.
    #[error("{message}")]
    Refused {
        /// Connect's code, such as `not_found`.
        code: Box<str>,
        /// In words.
        message: Box<str>,
        /// The exit code that a shell has for it, when a command could not be started.
        exit_code: Option<i32>,
    },
    /// Nothing listens on the port.
    #[error("the sandbox is running but port {0} is not open")]
    PortClosed(u16),
    /// What listens on the port gave no answer that can be read.
    #[error("what listens on port {1} of sandbox {0} gave no valid answer: {2}")]
    PortFailed(SandboxId, u16, String),
    /// The connection to the agent broke before the answer.
    #[error("the connection to the agent in sandbox {0} broke: {1}")]
    Broken(SandboxId, String),
}

impl WorkError {
    /// Whether the agent refused with this code.
    pub fn is_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if **code == *wanted)
    }
}
