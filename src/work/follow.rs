//! Waits for the ends of commands that nobody waits for, and then releases their holds: of those that were begun in the
//! background, whose client hung up, or that ran when Sandglass was restarted.

use std::time::Duration;

use super::{Work, error::WorkError};
use crate::{
    domain::{SandboxId, Status, sandbox::command_hold},
    sandboxes::RequestError,
};

/// How long to wait before an agent that cannot be reached is asked again: first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long to wait before an agent that does not know a command is believed: its start may be under way just now.
const SETTLED: Duration = Duration::from_secs(5);

/// Stands for a command that holds its sandbox, from before the hold is taken. When it is dropped, a task waits for the
/// command's end.
pub(super) struct Holding {
    work: Work,
    sandbox: SandboxId,
    command: Box<str>,
    released: bool,
}

impl Holding {
    pub(super) fn new(work: Work, sandbox: SandboxId, command: Box<str>) -> Self {
        // Nobody else waits for its end meanwhile, and so takes it for one that was never begun.
        work.begin_following(&sandbox, &command);
        Self { work, sandbox, command, released: false }
    }

    /// The command has ended, or was never begun.
    pub(super) async fn release(mut self) {
        self.released = true;
        let (work, sandbox, command) = (self.work.clone(), self.sandbox.clone(), self.command.clone());
        // A client that hangs up just now must not interrupt this.
        let released = self.work.spawn(async move {
            if !work.release(&sandbox, &command).await {
                work.wait_for_end(&sandbox, &command).await;
            }
            work.stop_following(&sandbox, &command);
        });
        let _ = released.await;
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if !self.released {
            self.work.follow_on(self.sandbox.clone(), self.command.clone());
        }
    }
}

impl Work {
    /// Waits for the end of a command in a task, unless one does already.
    pub(super) fn follow(&self, sandbox: SandboxId, command: Box<str>) {
        if self.begin_following(&sandbox, &command) {
            self.follow_on(sandbox, command);
        }
    }

    fn follow_on(&self, sandbox: SandboxId, command: Box<str>) {
        let work = self.clone();
        drop(self.spawn(async move {
            work.wait_for_end(&sandbox, &command).await;
            work.stop_following(&sandbox, &command);
        }));
    }

    async fn wait_for_end(&self, sandbox: &SandboxId, command: &str) {
        let (mut wait, mut unknown) = (FIRST_WAIT, false);
        loop {
            match self.sandboxes().get(sandbox).await {
                Ok(found) if !found.is_alive() => return,
                Ok(found) if !found.details.holds.iter().any(|hold| hold.command() == Some(command)) => return,
                Ok(found) if found.status() != Status::Running => {}
                Err(RequestError::Gone(_) | RequestError::NotFound(_)) => return,
                Err(_) => {}
                Ok(_) => match self.await_end(sandbox, command).await {
                    Ok(()) if self.release(sandbox, command).await => return,
                    Ok(()) => {}
                    Err(error) if error.is_code("not_found") && !unknown => {
                        unknown = true;
                        tokio::time::sleep(SETTLED).await;
                        continue;
                    }
                    Err(error) if error.is_code("not_found") => {
                        tracing::info!(%sandbox, command, "the agent does not know the command any more: it holds no longer");
                        if self.release(sandbox, command).await {
                            return;
                        }
                    }
                    Err(error) => tracing::debug!(%sandbox, command, %error, "cannot wait for a command; trying again"),
                },
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn await_end(&self, sandbox: &SandboxId, command: &str) -> Result<(), WorkError> {
        let mut frames = self.connect(sandbox, command, None).await?;
        while frames.next::<serde::de::IgnoredAny>().await?.is_some() {}
        Ok(())
    }

    /// Releases the hold of a command: the idle clock starts from now. Whether the hold is gone.
    pub(super) async fn release(&self, sandbox: &SandboxId, command: &str) -> bool {
        match self.sandboxes().release(sandbox, &command_hold(command)).await {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%sandbox, command, %error, "a command's hold was not released");
                matches!(
                    error,
                    RequestError::Gone(_)
                        | RequestError::NotFound(_)
                        | RequestError::NoSuchHold(_)
                        | RequestError::Terminating { .. }
                )
            }
        }
    }
}
