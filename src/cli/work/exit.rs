//! How the process of a command for people ends.

use super::super::client::Failed;

/// The exit code when it is Sandglass that failed, not the command; what `docker run` has for that.
pub(super) const OWN_FAILURE: u8 = 125;
/// As shells have it.
pub(super) const NO_SUCH_PROGRAM: u8 = 127;
/// What shells add to the number of a signal.
pub(super) const BY_SIGNAL: u8 = 128;
pub(super) const BY_INTERRUPT: u8 = BY_SIGNAL + 2;

/// The command has ended with this exit code; nothing is to be said about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(in crate::cli) struct ExitWith {
    pub(in crate::cli) code: u8,
    pub(in crate::cli) message: String,
}

impl ExitWith {
    pub(super) fn silently(code: u8) -> Self {
        Self { code, message: String::new() }
    }
}

impl From<Failed> for ExitWith {
    fn from(failed: Failed) -> Self {
        Self { code: failed.exit_code.unwrap_or(OWN_FAILURE), message: failed.message }
    }
}
