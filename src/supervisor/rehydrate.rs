//! Bringing sandboxes back from the store (design, 5), and dealing with what is there without being a record.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tracing::{error, info, warn};

use super::requests::{Phase, Supervisor};
use crate::{
    actor::{SandboxHandle, Tombstone},
    domain::{
        Details, Now, Policy, Sandbox, SandboxId,
        lifecycle::{Effects, Persist},
        record::Record,
        rehydrate::{self, Fallbacks, Traces},
        retry::Backoff,
    },
    ports::{
        runtime::{ContainerRef, Inspected, Owner, RuntimeError},
        store::{Cursor, Found, StoreError, Stored, Write},
    },
};

/// Members per page: a pipeline of this many reads is one round trip.
const PAGE: usize = 1000;

/// How many members without a record are dealt with at the same time.
const AT_ONCE: usize = 16;

/// A store that cannot be read is asked again soon: nothing works before it answers.
const RETRY: Backoff = Backoff { first: Duration::from_millis(200), most: Duration::from_secs(5) };

/// What a start has brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// Sandboxes.
    pub sandboxes: usize,
    /// Of these, records that lacked something and were completed.
    pub completed: usize,
    /// Tombstones.
    pub tombstones: usize,
    /// Records that are not understood and were put aside.
    pub quarantined: usize,
    /// Members of the active set without a record.
    pub orphans: usize,
}

/// A member of the active set that has no usable record. Its container, if it has one, is not lost.
struct Loose {
    id: SandboxId,
    score: f64,
    /// Its record was there, and was not understood.
    damaged: bool,
}

/// What became of a member.
enum Member {
    Back { completed: bool },
    Loose(Loose),
    Nothing,
}

impl Supervisor {
    /// Reads the active set and the tombstones, and starts an actor for each sandbox. An error is never taken for an empty
    /// set: what cannot be read is read again. When it returns, everything is known, and requests are served.
    pub(super) async fn rehydrate(self: &Arc<Self>) -> Result<Restoration, StoreError> {
        let mut restoration = Restoration::default();
        let mut loose = Vec::new();
        let fallbacks = self.fallbacks(self.world.clock.now());
        let mut from = None;
        loop {
            let page = self.patiently(|| self.store.active(from.clone(), PAGE)).await?;
            for stored in page.entries {
                match self.bring_back(stored, &fallbacks, &mut restoration) {
                    Member::Back { completed } => {
                        restoration.sandboxes += 1;
                        restoration.completed += usize::from(completed);
                    }
                    Member::Loose(member) => loose.push(member),
                    Member::Nothing => {}
                }
            }
            let Some(next) = page.next else { break };
            from = Some(next);
            info!(sandboxes = restoration.sandboxes, "bringing sandboxes back");
        }
        restoration.tombstones = self.read_tombstones(&fallbacks).await?;
        restoration.orphans = loose.iter().filter(|member| !member.damaged).count();
        for member in &loose {
            self.loose.insert(member.id.clone());
        }
        if !loose.is_empty() {
            let supervisor = self.clone();
            self.world.io.spawn(async move { supervisor.deal_with(loose, fallbacks).await });
        }
        self.phase.send_if_modified(|phase| {
            let starting = *phase == Phase::Starting;
            if starting {
                *phase = Phase::Ready;
            }
            starting
        });
        Ok(restoration)
    }

    fn fallbacks(&self, now: Now) -> Fallbacks {
        let lifecycle = &self.settings.lifecycle;
        Fallbacks {
            policy: Policy {
                idle_timeout: lifecycle.idle_timeout,
                paused_timeout: lifecycle.paused_timeout,
                heartbeat_timeout: None,
                active_timeout: lifecycle.active_timeout,
                on_timeout: lifecycle.on_timeout,
            },
            legacy_ttl: lifecycle.legacy_ttl,
            idle_slack: self.settings.store.flush_interval,
            not_before: now.moment.plus(lifecycle.restart_grace),
        }
    }

    /// Asks the store until it answers.
    pub(super) async fn patiently<F, T>(&self, question: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut failures = 0;
        loop {
            match question().await {
                Err(StoreError::Unavailable(error)) => {
                    failures += 1;
                    if u32::is_power_of_two(failures) {
                        warn!(%error, failures, "the store does not answer; the start waits");
                    }
                    self.world.journal.heard(Err(&error));
                    tokio::time::sleep(RETRY.jittered_wait(failures)).await;
                }
                outcome => {
                    self.world.journal.heard(Ok(()));
                    return outcome;
                }
            }
        }
    }

    fn bring_back(&self, stored: Stored, fallbacks: &Fallbacks, restoration: &mut Restoration) -> Member {
        let Some(id) = std::str::from_utf8(&stored.member).ok().and_then(|text| SandboxId::parse(text).ok()) else {
            // No container of ours can have such an id: nothing is lost by taking it out of the set.
            restoration.quarantined += 1;
            let bytes = if let Found::Record(bytes) = stored.found { bytes } else { Vec::new() };
            self.quarantine(&stored.member, bytes, "the member is not a valid sandbox id".into());
            self.world.journal.write(Write::Forget { member: stored.member });
            return Member::Nothing;
        };
        let now = self.world.clock.now();
        let (bytes, reason) = match stored.found {
            Found::Nothing => return Member::Loose(Loose { id, score: stored.score, damaged: false }),
            Found::Foreign(what) => (Vec::new(), what),
            Found::Record(bytes) => {
                let read = Record::parse(&bytes)
                    .and_then(|record| rehydrate::rehydrate(&id, record, stored.score, fallbacks, now));
                match read {
                    Ok(back) => {
                        self.revive(back.sandbox, back.effects, back.completed);
                        return Member::Back { completed: back.completed };
                    }
                    Err(damaged) => (bytes, damaged.to_string()),
                }
            }
        };
        restoration.quarantined += 1;
        self.quarantine(&stored.member, bytes, reason);
        Member::Loose(Loose { id, score: stored.score, damaged: true })
    }

    fn quarantine(&self, member: &[u8], bytes: Vec<u8>, reason: String) {
        let shown = String::from_utf8_lossy(member).into_owned();
        error!(sandbox_id = shown, reason, "a record is not understood; it is kept in quarantine");
        self.world.metrics.quarantined();
        let at = self.world.clock.now().wall();
        self.world.journal.write(Write::Quarantine { member: member.to_vec(), bytes, reason, at });
    }

    /// Starts the actor of a sandbox that was there before; its record is written anew first if it lacked something.
    fn revive(&self, sandbox: Sandbox, effects: Effects, save: bool) {
        let persist = if save { Persist::Through } else { effects.persist };
        let id = sandbox.id().clone();
        let spawn = || SandboxHandle::spawn(&self.world, &self.arbiters, sandbox, Effects { persist, ..effects }, None);
        // A page of the store may name a member twice: the first one stays.
        if self.world.registry.insert_with(&id, spawn).is_ok() {
            self.world.metrics.rehydrated();
        }
    }

    async fn read_tombstones(&self, fallbacks: &Fallbacks) -> Result<usize, StoreError> {
        let (mut from, mut count): (Option<Cursor>, usize) = (None, 0);
        loop {
            let page = self.patiently(|| self.store.tombstones(from.clone(), PAGE)).await?;
            let now = self.world.clock.now();
            for stored in page.entries {
                let Found::Record(bytes) = stored.found else { continue };
                let id = std::str::from_utf8(&stored.member).ok().and_then(|text| SandboxId::parse(text).ok());
                let record = Record::parse(&bytes).ok();
                // A tombstone that is not understood protects nothing, and expires by itself.
                let Some((id, record)) = id.zip(record) else { continue };
                if let Ok(sandbox) = rehydrate::entomb(&id, record, fallbacks, now) {
                    let until = now.moment_at(stored.score);
                    self.world.registry.insert_tombstone(Tombstone { sandbox: Arc::new(sandbox), until });
                    count += 1;
                }
            }
            let Some(next) = page.next else { return Ok(count) };
            from = Some(next);
        }
    }

    /// Members without a usable record: one whose container is there is adopted by its labels, the rest leaves the set,
    /// and only once the engine has answered that there is no container.
    async fn deal_with(&self, loose: Vec<Loose>, fallbacks: Fallbacks) {
        let members = futures_util::stream::iter(loose);
        members.for_each_concurrent(AT_ONCE, |member| self.deal_with_one(member, &fallbacks)).await;
    }

    async fn deal_with_one(&self, member: Loose, fallbacks: &Fallbacks) {
        let mut failures = 0;
        let (owner, inspected) = loop {
            match self.find_container(&member.id).await {
                Ok(found) => break found,
                Err(error) => {
                    failures += 1;
                    if u32::is_power_of_two(failures) {
                        warn!(sandbox_id = %member.id, %error, "cannot look for the container of a lost record yet");
                    }
                    tokio::time::sleep(RETRY.jittered_wait(failures)).await;
                }
            }
        };
        match inspected {
            Some(inspected) => {
                warn!(sandbox_id = %member.id, "its record is lost; its container is adopted by its labels");
                let (sandbox, effects) = self.adopt(&member, &owner, inspected, fallbacks);
                self.revive(sandbox, effects, true);
            }
            None => {
                self.world.journal.write(Write::Forget { member: member.id.as_str().into() });
            }
        }
        // Until here, nobody could take the id.
        self.loose.remove(&member.id);
    }

    /// Looks for a container with our labels, then for one with the reference system's.
    async fn find_container(&self, id: &SandboxId) -> Result<(Owner, Option<Inspected>), RuntimeError> {
        let look = |owner: Owner| async {
            let container = ContainerRef { sandbox: id.clone(), container_id: None, owner };
            self.world.runtime.inspect(&container).await.map(|found| (container.owner, found))
        };
        match look(Owner::Sandglass).await? {
            (owner, Some(found)) => Ok((owner, Some(found))),
            (_, None) => look(Owner::Reference { task_id: id.to_string() }).await,
        }
    }

    fn adopt(&self, member: &Loose, owner: &Owner, found: Inspected, fallbacks: &Fallbacks) -> (Sandbox, Effects) {
        let now = self.world.clock.now();
        let labels = &found.labels;
        let configured = fallbacks.policy;
        // A damaged record may have promised anything: the fallback is the longest of what is known. A lost one is what
        // the labels say; without them it is legacy.
        let idle_timeout = match labels.idle_timeout {
            Some(None) => None,
            Some(Some(timeout)) if member.damaged => Some(timeout.max(fallbacks.legacy_ttl)),
            Some(Some(timeout)) => Some(timeout),
            None => Some(fallbacks.legacy_ttl),
        };
        let policy = Policy {
            idle_timeout,
            paused_timeout: labels.paused_timeout.or(member.damaged.then_some(fallbacks.legacy_ttl)),
            heartbeat_timeout: labels.heartbeat_timeout,
            active_timeout: labels.active_timeout.unwrap_or(configured.active_timeout),
            on_timeout: labels.on_timeout.unwrap_or(configured.on_timeout),
        };
        let created_at = labels.created_at.unwrap_or(member.score);
        let details = Details {
            template: labels.template.clone(),
            image: found.image,
            container_name: found.name,
            container_id: Some(found.started.container_id),
            base_url: found.started.base_url,
            ports: found.started.ports,
            started_at: Some(created_at),
            taken_over: *owner != Owner::Sandglass,
            ..Details::new(member.id.clone(), created_at)
        };
        let last_activity = Some(member.score).filter(|score| score.is_finite());
        rehydrate::adopt(Traces { container: found.state, details, policy, last_activity }, fallbacks, now)
    }
}
