//! Creates a sandbox, or reuses the living one with the same id.

use std::sync::Arc;

use super::{
    ask::while_steady,
    directory::Sandboxes,
    health::RuntimeHealth,
    plan::{Create, bounded, template_of},
    unheard::Unheard,
};
use crate::{
    actor::{Entry, RequestError, SandboxHandle, Until},
    domain::{
        Details, EndReason, Sandbox, SandboxId, Status,
        leaf::ImageRef,
        record::UserId,
        sandbox::{Event, Rules},
    },
    journal::StoreHealth,
    ports::runtime::Start,
};

/// The result of a create.
#[derive(Clone, Debug)]
pub enum Created {
    /// A new sandbox runs.
    New(Sandbox),
    /// A new sandbox is recorded and being started.
    Pending(Sandbox),
    /// A living sandbox had the id; this counts as use.
    Reused(Sandbox),
}

impl Created {
    /// The sandbox, new or not.
    pub fn into_sandbox(self) -> Sandbox {
        let (Self::New(sandbox) | Self::Pending(sandbox) | Self::Reused(sandbox)) = self;
        sandbox
    }
}

impl Sandboxes {
    /// Creates a sandbox. With `wait` this returns when the sandbox runs or has failed, otherwise once its intent is
    /// recorded. If the caller drops this future, the sandbox stays, with one exception: if the caller waits and the
    /// request [is unannounced](Create::is_unannounced), nobody knows the sandbox, so it ends after its start unless it has been
    /// used.
    ///
    /// # Errors
    /// [`RequestError`]. Unless it is `StartFailed`, no container was created.
    pub async fn create(&self, request: Create, wait: bool) -> Result<Created, RequestError> {
        let (created, unheard) = self.create_unheard(request, wait).await?;
        if let Some(unheard) = unheard {
            unheard.heard();
        }
        Ok(created)
    }

    /// [`Self::create`] for a caller who answers its own client later, and then says that the sandbox was heard of.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub(super) async fn create_unheard(
        &self,
        request: Create,
        wait: bool,
    ) -> Result<(Created, Option<Unheard<'_>>), RequestError> {
        let id = request.id.clone().unwrap_or_else(SandboxId::generate);
        let (start, rules) = request.plan(&id, &self.settings)?;
        loop {
            // Until all sandboxes are restored, the id may turn out to be taken.
            self.must_be_ready()?;
            if self.unresolved.contains(&id) {
                return Err(RequestError::Starting);
            }
            if let Some(Entry::Live(handle)) = self.shared.registry.get(&id, self.shared.clock.now().moment) {
                match self.reuse(&id, &handle, &request, wait).await? {
                    Some(reused) => return Ok((reused, None)),
                    // The sandbox ended between the look-up and the request: look again.
                    None => tokio::task::yield_now().await,
                }
                continue;
            }
            let permit = self.admit()?;
            let inserted = self.shared.registry.insert_with(
                &id,
                |old| self.tell_forgotten(old),
                || self.spawn(&request, start.clone(), rules.clone()),
            );
            let Ok(handle) = inserted else { continue };
            let started = handle.wait(Until::Started);
            // The permit counts creates in flight, even if the caller has gone.
            let under_way = self.shared.tasks.once("create", async move {
                let outcome = started.await;
                drop(permit);
                outcome
            });
            let unheard = (wait && request.is_unannounced()).then(|| Unheard::new(self, &handle));
            let recorded = self.recorded(&id, &handle).await?;
            if !wait {
                return Ok((Created::Pending(recorded), None));
            }
            let outcome = under_way.await.map_err(|error| match error.is_cancelled() {
                // The process is ending at once. The next start continues from the record.
                true => RequestError::Stopping,
                false => RequestError::Internal(error.to_string()),
            })?;
            let outcome = outcome.unwrap_or(Err(RequestError::Unanswered));
            let sandbox = self.or_what_is_left(&id, outcome).await?;
            return Ok((Created::New(self.running(sandbox)?), unheard));
        }
    }

    /// Checks what has to hold before a container is started.
    fn admit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, RequestError> {
        match self.health.store() {
            StoreHealth::Up => {}
            StoreHealth::Down { error, .. } => return Err(RequestError::StoreUnavailable(error)),
            StoreHealth::Lost { holder } => return Err(RequestError::StoreUnavailable(format!("held by {holder}"))),
        }
        if let RuntimeHealth::Down { error, .. } = self.health.runtime() {
            return Err(RequestError::RuntimeUnavailable(error));
        }
        let most = self.settings.sandboxes.max_sandboxes;
        if self.shared.registry.live_count() >= most {
            return Err(RequestError::LimitReached(format!("{most} sandboxes are alive (docker.max_sandboxes)")));
        }
        let most = self.settings.sandboxes.max_creates;
        self.creates.clone().try_acquire_owned().map_err(|_| {
            RequestError::LimitReached(format!("{most} sandboxes are being started (docker.max_creates); try again"))
        })
    }

    fn spawn(&self, request: &Create, mut start: Start, rules: Rules) -> SandboxHandle {
        let now = self.shared.clock.now();
        start.labels.created_at = Some(now.wall());
        let details = Details {
            template: start.labels.template.as_deref().map(Into::into),
            image: Some(start.spec.image.as_str().into()),
            metadata: request.metadata.clone(),
            shell_type: request.shell_type.as_deref().map(Into::into),
            user_id: request.user_id.clone().map(|UserId(raw)| raw),
            user_name: request.user_name.as_deref().map(Into::into),
            executor_namespace: request.executor_namespace.as_deref().map(Into::into),
            wake: request.wake,
            public_traffic: request.public_traffic,
            mask_request_host: request.mask_request_host.as_deref().map(Into::into),
            network: Some(start.spec.network.clone()),
            egress: start.spec.egress.clone().boxed(),
            ..Details::new(start.id.clone(), start.name.as_str(), now.wall(), rules)
        };
        let (sandbox, effects) = Sandbox::create(details, now);
        SandboxHandle::spawn(&self.shared, &self.arbiters, sandbox, effects, Some(start))
    }

    /// Waits until the intent is stored. If the store goes down in the meantime, withdraws the sandbox.
    async fn recorded(&self, id: &SandboxId, handle: &SandboxHandle) -> Result<Sandbox, RequestError> {
        let mut health = self.health.watch_store();
        let outcome = tokio::select! {
            biased;
            recorded = handle.wait(Until::Recorded) => Ok(recorded),
            changed = health.wait_for(|health| !health.is_up()) => match changed.as_deref() {
                Ok(StoreHealth::Down { error, .. }) => Err(error.clone()),
                _ => Err("it is not ours any more".to_owned()),
            },
        };
        match outcome {
            Ok(recorded) => self.or_what_is_left(id, recorded).await,
            Err(error) => {
                handle.tell(Event::Terminate(EndReason::StartFailed));
                Err(RequestError::StoreUnavailable(error))
            }
        }
    }

    /// If the start failed and the actor has left before it was asked, answers with the tombstone.
    async fn or_what_is_left(
        &self,
        id: &SandboxId,
        answer: Result<Sandbox, RequestError>,
    ) -> Result<Sandbox, RequestError> {
        match answer {
            Err(RequestError::Unanswered) => self.get(id).await,
            answer => answer,
        }
    }

    async fn reuse(
        &self,
        id: &SandboxId,
        handle: &SandboxHandle,
        request: &Create,
        wait: bool,
    ) -> Result<Option<Created>, RequestError> {
        let timeout = request.timeout.map(|timeout| bounded("timeout", timeout, &self.settings)).transpose()?;
        let alike = |sandbox: &Sandbox| self.is_made_as_asked(sandbox, request);
        let Ok(present) = handle.snapshot().await else { return self.left(id, handle) };
        let same_rules =
            |sandbox: &Sandbox| request.egress.as_ref().is_none_or(|asked| *asked == sandbox.egress().request);
        if present.is_alive() && !same_rules(&present) {
            return Err(RequestError::Conflict(format!(
                "id {id} belongs to a sandbox with other rules for what it may reach; change them by PUT \
                 /v1/sandboxes/{id}/egress",
            )));
        }
        if present.is_alive() && !alike(&present) {
            return Err(RequestError::Conflict(format!(
                "id {id} belongs to a sandbox from template {} and image {}",
                present.details.template.as_deref().unwrap_or("?"),
                present.details.image.as_deref().unwrap_or("?"),
            )));
        }
        let reused = while_steady(|| handle.wait(Until::Steady), || handle.ask(Event::Reuse(timeout)));
        match reused.await {
            Ok(sandbox) if wait && sandbox.is_starting() => {
                let started = handle.wait(Until::Started).await;
                let started = self.or_what_is_left(id, started).await?;
                self.running(started).map(Created::Reused).map(Some)
            }
            Ok(sandbox) => Ok(Some(Created::Reused(sandbox))),
            Err(RequestError::Unanswered) => self.left(id, handle),
            Err(error) => Err(error),
        }
    }

    /// Handles a missing answer. If the actor has left, the id is free or belongs to another sandbox; if it is still
    /// registered, it is broken.
    fn left(&self, id: &SandboxId, handle: &SandboxHandle) -> Result<Option<Created>, RequestError> {
        let stands = self.shared.registry.with_live(id, |standing| standing.is_same(handle)).unwrap_or(false);
        if stands { Err(RequestError::Internal(format!("sandbox {id} does not answer"))) } else { Ok(None) }
    }

    /// Whether a reuse fits the request: a template or image that the request names has to match. Records that were taken
    /// over have neither, and fit everything.
    fn is_made_as_asked(&self, sandbox: &Sandbox, request: &Create) -> bool {
        let details = &sandbox.details;
        let named = request.template.is_some() || request.shell_type.is_some();
        let template = template_of(request, &self.settings).map(|(name, _)| name);
        let same_template = details.template.is_none() || !named || details.template.as_deref() == template.ok();
        let same_image = details.image.is_none()
            || request.image.is_none()
            || details.image.as_deref() == request.image.as_ref().map(ImageRef::as_str);
        same_template && same_image
    }

    fn running(&self, sandbox: Sandbox) -> Result<Sandbox, RequestError> {
        match sandbox.status() {
            Status::Running | Status::Paused => Ok(sandbox),
            _ if self.health.runtime().is_down() => {
                let problem = sandbox.details.error_message.as_deref().map(Into::into);
                let problem = problem.unwrap_or_else(|| "it ended while the container engine was down".into());
                Err(RequestError::RuntimeUnavailable(problem))
            }
            _ => Err(why_it_does_not_run(sandbox)),
        }
    }
}

/// With a very short timeout, it may have run and ended before the answer.
fn why_it_does_not_run(sandbox: Sandbox) -> RequestError {
    match sandbox.end().map(|end| end.reason) {
        Some(EndReason::Idle | EndReason::Expired) if sandbox.is_gone() => RequestError::Gone(Arc::new(sandbox)),
        Some(reason @ (EndReason::Idle | EndReason::Expired)) => {
            RequestError::Terminating { id: sandbox.id().clone(), reason }
        }
        _ => RequestError::StartFailed(Box::new(sandbox)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        actor::Arbiters,
        app::{Adapters, assemble},
        config::{Overrides, Settings},
        ports::runtime::RuntimeError,
        runtime::{
            Memory,
            memory::{Point, When},
        },
        store::MemoryStore,
    };

    #[actix_web::test]
    async fn whoever_asks_for_a_start_after_all_of_it_is_gone_is_told_how_it_was() {
        tokio::time::pause();
        let settings = Settings::load(None, Vec::new(), Overrides::default()).unwrap();
        let runtime = Memory::new();
        let adapters = Adapters { store: Arc::new(MemoryStore::new()), runtime: Arc::new(runtime.clone()) };
        let supervisor = assemble(settings, adapters, Arbiters::current());
        supervisor.begin().await.unwrap();
        runtime.fail_always(Point::Pull, When::Before, RuntimeError::Failed("no such image".into()));
        let id = SandboxId::parse("quick").unwrap();
        let request = Create { id: Some(id.clone()), ..Create::default() };
        let (start, rules) = request.plan(&id, &supervisor.settings).unwrap();
        let handle = supervisor.shared.registry.insert_with(&id, |_| (), || supervisor.spawn(&request, start, rules));
        let handle = handle.ok().unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(handle.is_dead(), "it has failed, and everything of it is gone");
        let recorded = supervisor.recorded(&id, &handle).await.unwrap();
        assert_eq!(recorded.status(), Status::Failed);
        let started = supervisor.or_what_is_left(&id, handle.wait(Until::Started).await).await.unwrap();
        assert!(matches!(supervisor.running(started), Err(RequestError::StartFailed(_))));
    }

    #[actix_web::test]
    async fn what_ran_and_ran_out_before_anybody_was_told_did_start() {
        tokio::time::pause();
        let settings = Settings::load(None, Vec::new(), Overrides::default()).unwrap();
        let adapters = Adapters { store: Arc::new(MemoryStore::new()), runtime: Arc::new(Memory::new()) };
        let supervisor = assemble(settings, adapters, Arbiters::current());
        supervisor.begin().await.unwrap();
        let id = SandboxId::parse("brief").unwrap();
        let idle_timeout = Some(Some(Duration::from_millis(1)));
        let request = Create { id: Some(id.clone()), idle_timeout, ..Create::default() };
        supervisor.create(request, false).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let gone = supervisor.get(&id).await.unwrap();
        assert!(matches!(supervisor.running(gone), Err(RequestError::Gone(_))));
    }
}
