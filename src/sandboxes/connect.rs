//! Requests of clients that count on a running sandbox for a time. What they are answered is true of a sandbox that runs,
//! and not of one that is just being paused.

use std::time::Duration;

use super::{ask::TRIES, directory::Sandboxes, plan::bounded};
use crate::{
    actor::{RequestError, Until},
    domain::{Sandbox, SandboxId, Status, sandbox::Event},
};

/// The result of a connect.
#[derive(Clone, Debug)]
pub enum Connected {
    /// It ran.
    Running(Sandbox),
    /// It was paused, and runs again.
    Resumed(Sandbox),
}

impl Sandboxes {
    /// Makes sure that a sandbox runs and is active for at least `timeout` from now: one that is paused is resumed. Never
    /// shortens its active timeout. Counts as use.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn connect(&self, id: &SandboxId, timeout: Duration) -> Result<Connected, RequestError> {
        let timeout = bounded("timeout", timeout, &self.settings)?;
        let mut answer = Err(RequestError::Paused(id.clone()));
        for _ in 0..TRIES {
            answer = match self.while_it_runs(id, || Event::Reuse(Some(timeout))).await {
                Err(RequestError::Paused(_)) => self.resume(id, timeout).await.map(Connected::Resumed),
                extended => extended.map(Connected::Running),
            };
            // Somebody else may have resumed it in the meantime.
            match answer {
                Err(RequestError::WrongState { status: Status::Running | Status::Paused, .. }) => {}
                answer => return answer,
            }
        }
        answer
    }

    /// Makes sure that a running sandbox is active for at least `timeout` from now. Counts as use.
    ///
    /// # Errors
    /// [`RequestError`], also [`RequestError::Paused`].
    pub async fn extend(&self, id: &SandboxId, timeout: Duration) -> Result<Sandbox, RequestError> {
        let timeout = bounded("timeout", timeout, &self.settings)?;
        self.while_it_runs(id, || Event::Reuse(Some(timeout))).await
    }

    /// Moves the end of the active timeout of a running sandbox to `timeout` from now. Counts as use.
    ///
    /// # Errors
    /// [`RequestError`], also [`RequestError::Paused`].
    pub async fn set_timeout(&self, id: &SandboxId, timeout: Duration) -> Result<Sandbox, RequestError> {
        let timeout = bounded("timeout", timeout, &self.settings)?;
        self.while_it_runs(id, || Event::KeepAlive(timeout)).await
    }

    /// Returns a sandbox when no pause or resume is under way.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn steady(&self, id: &SandboxId) -> Result<Sandbox, RequestError> {
        if let Some(steady) = self.shared.registry.with_live(id, |handle| handle.wait(Until::Steady)) {
            // If its actor leaves meanwhile, its tombstone answers.
            let _ = steady.await;
        }
        self.get(id).await
    }

    /// Applies an event, unless the sandbox is paused or becomes so at that moment.
    async fn while_it_runs(&self, id: &SandboxId, event: impl Fn() -> Event) -> Result<Sandbox, RequestError> {
        loop {
            let before = self.steady(id).await?;
            if before.status() == Status::Paused {
                return Err(RequestError::Paused(id.clone()));
            }
            let after = self.ask(id, &event).await?;
            if after.status() != Status::Paused && !after.is_pausing_or_resuming() {
                return Ok(after);
            }
        }
    }
}
