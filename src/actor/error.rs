//! Why a request was not fulfilled, in the domain's words. HTTP gives each its status code.

use std::sync::Arc;

use crate::domain::{Denied, EndReason, Sandbox, SandboxId, Status};

/// Why a request was not fulfilled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// An id that was never seen, or whose tombstone is past its retention.
    #[error("there is no sandbox {0}")]
    NotFound(SandboxId),
    /// It has no hold of the name that was given.
    #[error("sandbox {0} has no hold of this name")]
    NoSuchHold(SandboxId),
    /// It ended.
    #[error("sandbox {} has ended ({})", .0.id(), reason_of(.0))]
    Gone(Arc<Sandbox>),
    /// It is on its way out.
    #[error("sandbox {id} is terminating ({reason})")]
    Terminating {
        /// Which.
        id: SandboxId,
        /// Why it ends.
        reason: EndReason,
    },
    /// The request needs another status.
    #[error("sandbox {id} is {status}: {rule}")]
    WrongState {
        /// Which.
        id: SandboxId,
        /// What it is.
        status: Status,
        /// What it should have been.
        rule: &'static str,
    },
    /// It is frozen: no work can be done in it.
    #[error("sandbox {0} is paused: resume it first, or set wake = true in its template")]
    Paused(SandboxId),
    /// Its active timeout has passed: no work is begun in it.
    #[error("sandbox {0} is inactive, since its active timeout has passed: send a keep-alive first")]
    Inactive(SandboxId),
    /// A field of the request breaks a rule.
    #[error("{field}: {rule}")]
    Invalid {
        /// Which.
        field: String,
        /// The rule, and what was given.
        rule: String,
    },
    /// The id belongs to a sandbox that was made from something else.
    #[error("{0}")]
    Conflict(String),
    /// A configured limit is reached.
    #[error("{0}")]
    LimitReached(String),
    /// The store is down, or not ours any more: nothing is started that could not be recorded.
    #[error("the store is unavailable: {0}")]
    StoreUnavailable(String),
    /// The container engine is down.
    #[error("{0}")]
    RuntimeUnavailable(String),
    /// The container engine failed at it; the sandbox is as it was.
    #[error("the container engine failed: {0}")]
    RuntimeFailed(String),
    /// The sandbox did not start; it is being removed.
    #[error("sandbox {} did not start: {}", .0.id(), .0.details.error_message.as_deref().unwrap_or("it was terminated"))]
    StartFailed(Box<Sandbox>),
    /// Another supervisor is in charge: ask that one.
    #[error("sandglass is on standby: another supervisor is in charge, and this one takes over when that one stops")]
    Standby,
    /// Sandboxes are still being restored.
    #[error("sandglass is starting: sandboxes are being brought back from the store")]
    Starting,
    /// The supervisor stops: nothing new is begun, and nothing ends by this.
    #[error("sandglass is stopping; its sandboxes go on")]
    Stopping,
    /// Its actor is leaving, or it died.
    #[error("the sandbox does not answer")]
    Unanswered,
    /// A bug on our side.
    #[error("{0}")]
    Internal(String),
}

fn reason_of(sandbox: &Sandbox) -> EndReason {
    sandbox.end().map_or(EndReason::Requested, |end| end.reason)
}

impl RequestError {
    pub(crate) fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), rule: rule.into() }
    }

    /// What it means for a client that the machine of `id` denied a request.
    pub(crate) fn denied(id: &SandboxId, denied: Denied) -> Self {
        let id = id.clone();
        match denied {
            Denied::Terminating { reason } => Self::Terminating { id, reason },
            // Its tombstone, which is on its way, says more.
            Denied::Gone { .. } => Self::Unanswered,
            Denied::WrongState { status, rule } => Self::WrongState { id, status, rule },
            Denied::Paused => Self::Paused(id),
            Denied::Inactive => Self::Inactive(id),
            Denied::TooManyHolds | Denied::TooManyCommands => Self::LimitReached(format!("sandbox {id}: {denied}")),
            Denied::NoWalls => Self::Conflict(format!("sandbox {id}: {denied}")),
            Denied::NoSuchHold => Self::NoSuchHold(id),
        }
    }

    /// Another supervisor is in charge, or this one has stopped: nothing can be promised any more.
    pub(super) fn not_in_charge() -> Self {
        Self::StoreUnavailable("this supervisor is not in charge any more".to_owned())
    }
}
