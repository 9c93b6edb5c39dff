//! Adopts containers of sandboxes whose record is lost, by their labels, so that no container is without an owner.

use futures_util::StreamExt;
use tracing::warn;

use super::state::Keeper;
use crate::{
    domain::{
        Details, EpochSeconds, Now, Sandbox, SandboxId,
        restore::{self, ContainerEvidence, Fallbacks},
        sandbox::{Container, Effects, RuleClock},
    },
    loops::{RETRY, retry},
    ports::{
        runtime::{ContainerRef, Inspected, Owner, RuntimeError},
        store::Write,
    },
};

/// How many members without a record are dealt with at the same time.
const AT_ONCE: usize = 16;

/// What is known of a sandbox whose record is lost, beside its container.
pub(super) struct LostRecord {
    pub(super) id: SandboxId,
    /// Its last activity, if that is known.
    last_activity: Option<EpochSeconds>,
    /// Whether it has a record that cannot be read: it may have promised anything.
    pub(super) damaged: bool,
    /// Whether its time is over, by its labels.
    pub(super) forsaken: bool,
}

impl LostRecord {
    /// A member of the active set that has no usable record.
    pub(super) fn of_member(id: SandboxId, score: EpochSeconds, damaged: bool) -> Self {
        Self { id, last_activity: Some(score).filter(|score| score.is_finite()), damaged, forsaken: false }
    }

    /// A container that no sandbox and no member knows. It should live if it ever ran, and if its idle timeout, counted from
    /// its creation, is not over. Nobody knows when it was last used: if it lives, that is read as now. One that has stopped
    /// may have done so with its host, which took the records along.
    pub(super) fn orphan(
        id: SandboxId,
        created_at: EpochSeconds,
        now: Now,
        found: &Inspected,
        legacy_ttl: f64,
    ) -> Self {
        let created_at = found.labels.created_at.unwrap_or(created_at);
        let idle_timeout = match found.labels.rules.get(RuleClock::Idle) {
            Some(timeout) => timeout.map(|timeout| timeout.as_secs_f64()),
            None => Some(legacy_ttl),
        };
        let forsaken = match found.state {
            Container::Running | Container::Stopped(Some(_)) => {
                idle_timeout.is_some_and(|timeout| created_at + timeout <= now.wall())
            }
            Container::Paused => false,
            Container::Stopped(None) | Container::Missing => true,
        };
        Self { id, last_activity: None, damaged: false, forsaken }
    }
}

impl Keeper {
    /// Adopts the containers of members without a usable record. A member without a container leaves the active set, but
    /// only once the engine has answered that there is none.
    pub(super) async fn resolve_all(&self, lost: Vec<LostRecord>, fallbacks: Fallbacks) {
        let members = futures_util::stream::iter(lost);
        members.for_each_concurrent(AT_ONCE, |member| self.resolve(member, &fallbacks)).await;
    }

    pub(super) async fn resolve(&self, member: LostRecord, fallbacks: &Fallbacks) {
        self.shared.tasks.finish("lost record", |_| self.adopt_or_forget(&member, fallbacks)).await;
    }

    async fn adopt_or_forget(&self, member: &LostRecord, fallbacks: &Fallbacks) {
        let found = retry(
            RETRY,
            || self.find_container(&member.id),
            |error, failures| {
                if failures.is_power_of_two() {
                    warn!(sandbox_id = %member.id, %error, "cannot look for the container of a lost record yet");
                }
            },
        );
        let (owner, inspected) = found.await;
        match inspected {
            Some(inspected) => {
                warn!(sandbox_id = %member.id, "its record is lost; its container is adopted by its labels");
                let (sandbox, effects) = self.adopt(member, &owner, inspected, fallbacks);
                self.spawn_adopted(sandbox, effects);
            }
            None => {
                self.shared.journal.write(Write::Deactivate { member: member.id.as_str().into() });
            }
        }
        // Nobody could take the id before.
        self.sandboxes.unresolved.remove(&member.id);
    }

    /// Starts the actor of an adopted sandbox.
    pub(super) fn spawn_adopted(&self, sandbox: Sandbox, effects: Effects) {
        let has_walls = sandbox.has_walls();
        self.spawn(sandbox, effects, true);
        if has_walls {
            // Nobody could say what it may reach, so it reached nothing. The comparison tends the walls.
            self.reconcile_now.notify_one();
        }
    }

    /// Looks for a container with our labels, then for one with the reference system's.
    async fn find_container(&self, id: &SandboxId) -> Result<(Owner, Option<Inspected>), RuntimeError> {
        let look = |owner: Owner| async {
            let container = ContainerRef::by_labels(id.clone(), owner);
            self.shared.runtime.inspect(&container).await.map(|found| (container.owner, found))
        };
        match look(Owner::Sandglass).await? {
            (owner, Some(found)) => Ok((owner, Some(found))),
            (_, None) => look(Owner::Reference { task_id: id.to_string() }).await,
        }
    }

    /// Makes a sandbox from its container.
    pub(super) fn adopt(
        &self,
        record: &LostRecord,
        owner: &Owner,
        found: Inspected,
        fallbacks: &Fallbacks,
    ) -> (Sandbox, Effects) {
        if matches!(found.state, Container::Stopped(_)) {
            // The comparison finds out how it ended.
            self.reconcile_now.notify_one();
        }
        let now = self.shared.clock.now();
        let labels = &found.labels;
        let rules = restore::rules_of_labels(&labels.rules, record.damaged, fallbacks);
        let created_at = labels.created_at.or(record.last_activity).unwrap_or_else(|| now.wall());
        let details = Details {
            template: labels.template.as_deref().map(Into::into),
            image: found.image.map(Into::into),
            container_id: Some(found.started.container_id.into()),
            base_url: found.started.base_url.map(Into::into),
            ports: found.started.ports.into(),
            started_at: Some(created_at),
            taken_over: *owner != Owner::Sandglass,
            wake: labels.wake,
            public_traffic: labels.public_traffic,
            mask_request_host: labels.mask_request_host.as_deref().map(Into::into),
            network: labels.network.clone(),
            egress: labels.egress.clone().boxed(),
            ..Details::new(record.id.clone(), found.name, created_at, rules)
        };
        let evidence = ContainerEvidence {
            container: found.state,
            forsaken: record.forsaken,
            details,
            last_activity: record.last_activity,
        };
        restore::adopt(evidence, fallbacks, now)
    }
}
