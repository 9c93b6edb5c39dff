//! Requests to one sandbox.

use std::time::Duration;

use super::{directory::Sandboxes, health::ServingPhase, plan::bounded};
use crate::{
    actor::{RequestError, SandboxHandle, Until},
    domain::{
        ActivitySource, EndReason, Sandbox, SandboxId, Status,
        sandbox::{Event, HoldRequest, Work},
    },
};

/// How often what finds a pause or a resume under way is tried again.
pub(super) const TRIES: usize = 3;

impl Sandboxes {
    /// Notes use of a sandbox. The idle clock is reset before this returns.
    ///
    /// # Errors
    /// [`RequestError`] if the sandbox is ending, has ended or is unknown.
    pub async fn touch(&self, id: &SandboxId, source: ActivitySource) -> Result<Sandbox, RequestError> {
        self.ask(id, || Event::Activity(source)).await
    }

    /// Moves the end of the active timeout to `timeout` from now (`None` for the sandbox's own). Counts as use.
    ///
    /// While a pause is under way, it waits for its outcome: one that was due before must not follow the answer.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn keep_alive(
        &self,
        id: &SandboxId,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Sandbox, RequestError> {
        let timeout = match timeout.into() {
            Some(timeout) => bounded("timeout", timeout, &self.settings)?,
            None => self.get(id).await?.rules().active_timeout(),
        };
        while_steady(|| self.steady(id), || self.ask(id, || Event::KeepAlive(timeout))).await
    }

    /// Takes or renews a hold: the idle clock stands still until `ttl` from now. Counts as use.
    ///
    /// # Errors
    /// [`RequestError`], also if it has [`MOST_HOLDS`](crate::domain::sandbox::MOST_HOLDS) other holds.
    pub async fn hold(&self, id: &SandboxId, mut request: HoldRequest) -> Result<Sandbox, RequestError> {
        request.ttl = bounded("ttl", request.ttl, &self.settings)?;
        self.ask(id, || Event::Hold(Box::new(request.clone()))).await
    }

    /// Releases the hold `name`. Counts as use: the idle clock starts again from now.
    ///
    /// # Errors
    /// [`RequestError`], also if there is no such hold.
    pub async fn release(&self, id: &SandboxId, name: &str) -> Result<Sandbox, RequestError> {
        self.ask(id, || Event::Release(name.into())).await
    }

    /// Lets somebody work in it: counts as use, and a command's hold stands when this answers. One that is paused is resumed
    /// first if [`Self::is_woken_by_work`].
    ///
    /// # Errors
    /// [`RequestError`], also [`RequestError::Inactive`] and [`RequestError::Paused`].
    pub async fn work(&self, id: &SandboxId, work: &Work) -> Result<Sandbox, RequestError> {
        let event = || Event::Work(Box::new(work.clone()));
        // What is sent to a container that stands still is answered afterwards, but a new connection is refused.
        self.is_not_being_copied(id).await;
        for _ in 0..TRIES {
            match self.ask(id, event).await {
                Err(RequestError::Paused(_)) if self.wakes(id).await => match self.resume(id, None).await {
                    // Somebody else resumes it, or has just done so.
                    Ok(_) | Err(RequestError::WrongState { .. }) => {}
                    Err(error) => return Err(error),
                },
                Err(RequestError::WrongState { status: Status::Running | Status::Paused, .. }) => {}
                answer => return answer,
            }
            // A pause or a resume may be under way.
            let _ = self.steady(id).await;
        }
        self.ask(id, event).await
    }

    async fn wakes(&self, id: &SandboxId) -> bool {
        self.get(id).await.is_ok_and(|sandbox| self.is_woken_by_work(&sandbox))
    }

    /// Whether work in a sandbox while it is paused resumes it first: as its create said, or else its template.
    pub fn is_woken_by_work(&self, sandbox: &Sandbox) -> bool {
        let template = || self.settings.templates.get(sandbox.details.template.as_deref()?);
        sandbox.details.wake.unwrap_or_else(|| template().is_some_and(|template| template.wake))
    }

    /// Pauses a sandbox: freezes its container.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn pause(&self, id: &SandboxId) -> Result<Sandbox, RequestError> {
        // An engine thaws a container when it has copied it.
        self.is_not_being_copied(id).await;
        self.ask_for_status(id, Event::Pause, Status::Paused).await
    }

    /// Resumes a sandbox: thaws its container. It is active for at least `timeout` from then on (`None` for its own active
    /// timeout). Counts as use.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn resume(&self, id: &SandboxId, timeout: impl Into<Option<Duration>>) -> Result<Sandbox, RequestError> {
        let timeout = timeout.into().map(|timeout| bounded("timeout", timeout, &self.settings)).transpose()?;
        self.is_not_being_copied(id).await;
        self.ask_for_status(id, Event::Resume(timeout), Status::Running).await
    }

    /// Notes a heartbeat from inside the sandbox, which is not use.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn heartbeat(&self, id: &SandboxId) -> Result<Sandbox, RequestError> {
        self.ask(id, || Event::Heartbeat).await
    }

    /// Ends a sandbox. Returns once the intent is stored or the store is known to be down. With `wait`, returns when the
    /// container is gone, or after that time.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn terminate(&self, id: &SandboxId, wait: Duration) -> Result<Sandbox, RequestError> {
        let ending = self.ask(id, || Event::Terminate(EndReason::Requested)).await?;
        if wait.is_zero() {
            return Ok(ending);
        }
        let Some(gone) = self.shared.registry.with_live(id, |handle| handle.wait(Until::Gone)) else {
            return self.get(id).await;
        };
        let mut phase = self.health.watch_phase();
        let gone = tokio::select! {
            gone = gone => gone.ok(),
            // The removal takes longer than `wait`, or the process is stopping.
            () = tokio::time::sleep(wait) => None,
            _ = phase.wait_for(|phase| *phase == ServingPhase::Stopping) => None,
        };
        match gone {
            Some(gone) => Ok(gone),
            // There was no answer because it was gone already, or it is not gone yet.
            None => self.get(id).await,
        }
    }

    /// Resolves when a sandbox is on its way out, or nobody answers for it.
    pub async fn ending(&self, id: &SandboxId) {
        if let Some(ending) = self.shared.registry.with_live(id, |handle| handle.wait(Until::Ending)) {
            let _ = ending.await;
        }
    }

    /// Returns a sandbox, or its tombstone until the end of its retention.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn get(&self, id: &SandboxId) -> Result<Sandbox, RequestError> {
        if let Some(Ok(sandbox)) = self.with_handle(id, SandboxHandle::snapshot).await {
            return Ok(sandbox);
        }
        match self.absent(id) {
            RequestError::Gone(sandbox) => Ok(Sandbox::clone(&sandbox)),
            error => Err(error),
        }
    }

    pub(super) async fn ask(&self, id: &SandboxId, event: impl Fn() -> Event) -> Result<Sandbox, RequestError> {
        match self.with_handle(id, |handle| handle.ask(event())).await {
            None | Some(Err(RequestError::Unanswered)) => Err(self.absent(id)),
            Some(answer) => answer,
        }
    }

    /// Requests a status. The sandbox may end in the meantime.
    async fn ask_for_status(&self, id: &SandboxId, event: Event, wanted: Status) -> Result<Sandbox, RequestError> {
        let sandbox = self.ask(id, || event.clone()).await?;
        match sandbox.end() {
            None if sandbox.status() == wanted => Ok(sandbox),
            None => Err(RequestError::RuntimeFailed(format!("the sandbox is {} again", sandbox.status()))),
            Some(end) => Err(RequestError::Terminating { id: id.clone(), reason: end.reason }),
        }
    }

    /// Asks the actor of `id`. If it does not answer, it may have left, and another one may have taken its place.
    async fn with_handle<F>(&self, id: &SandboxId, question: impl Fn(&SandboxHandle) -> F) -> Option<F::Output>
    where
        F: Future<Output = Result<Sandbox, RequestError>>,
    {
        let first = self.shared.registry.with_live(id, &question)?.await;
        match first {
            Err(RequestError::Unanswered) => Some(self.shared.registry.with_live(id, &question)?.await),
            answer => Some(answer),
        }
    }
}

/// Asks for what an answer promises of a sandbox that is not just being paused or resumed, and answers when it is not.
pub(super) async fn while_steady<W: Future, A>(
    steady: impl Fn() -> W,
    ask: impl Fn() -> A,
) -> Result<Sandbox, RequestError>
where
    A: Future<Output = Result<Sandbox, RequestError>>,
{
    loop {
        // If its actor leaves meanwhile, the next question finds that.
        let _ = steady().await;
        let after = ask().await?;
        if !after.is_pausing_or_resuming() {
            return Ok(after);
        }
    }
}
