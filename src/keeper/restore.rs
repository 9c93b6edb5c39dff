//! Restores sandboxes from the store ([design: records](crate::design::restart::records)), and deals with entries that
//! have no readable record.

use std::sync::{Arc, atomic::Ordering};

use tracing::{error, info, warn};

use super::{absence::Absence, adopt::LostRecord, state::Keeper};
use crate::{
    actor::{SandboxHandle, SpawnBatch, Tombstone},
    domain::{
        Now, Sandbox, SandboxId,
        record::Record,
        restore::{self, Fallbacks},
        sandbox::{Effects, Persist},
    },
    loops::{RETRY, retry},
    ports::store::{Cursor, Found, LastStop, Page, StoreError, Stored, Write},
    sandboxes::ServingPhase,
};

/// Members per page: a pipeline of this many reads is one round trip.
const PAGE: usize = 1000;

/// After this many sandboxes, other tasks have their turn, above all the one that reads the next page.
const BREATH: usize = 50;

/// What a start has restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// Sandboxes.
    pub sandboxes: usize,
    /// Those whose records lacked something and were completed.
    pub completed: usize,
    /// Tombstones.
    pub tombstones: usize,
    /// Unreadable records, which were put into quarantine.
    pub quarantined: usize,
    /// Members of the active set without a record.
    pub orphans: usize,
}

/// What became of a member of the active set.
pub(super) enum Member {
    Restored { completed: bool },
    Lost(LostRecord),
    Invalid,
}

impl Keeper {
    /// Reads the active set and the tombstones, and starts an actor for each sandbox. An error is never taken for an empty
    /// set: reads are retried. When this returns, every sandbox is known and requests are served.
    pub(super) async fn restore(self: &Arc<Self>, last_stop: LastStop) -> Result<Restoration, StoreError> {
        let mut restoration = Restoration::default();
        let mut lost = Vec::new();
        let began = self.shared.clock.now();
        let grace_spent = self.patiently(|| self.store.grace_spent()).await?;
        if let Ok(kept) = self.store.quarantined().await
            && !kept.is_empty()
        {
            warn!(records = kept.len(), "the store keeps records in quarantine that were not understood");
        }
        let absence = Absence { last_stop, known_at: began.moment, grace_spent };
        let whole = self.fallbacks(began);
        let fallbacks = absence.with_what_is_left(whole.clone());
        let mut page = self.active_page(None).await?;
        loop {
            let next = page.next.take();
            let more = next.is_some();
            // The store reads the next page while the sandboxes of this one are made.
            let (made, coming) =
                tokio::join!(self.restore_page(page.entries, absence, &whole, &mut restoration), async {
                    if more { self.active_page(next).await } else { Ok(Page::default()) }
                },);
            lost.extend(made);
            if !more {
                break;
            }
            page = coming?;
            info!(sandboxes = restoration.sandboxes, "bringing sandboxes back");
        }
        restoration.tombstones = self.read_tombstones(&fallbacks).await?;
        restoration.orphans = lost.iter().filter(|member| !member.damaged).count();
        for member in &lost {
            self.sandboxes.unresolved.insert(member.id.clone());
        }
        if !lost.is_empty() {
            let keeper = self.clone();
            self.shared.tasks.once("lost records", async move { keeper.resolve_all(lost, fallbacks).await });
        }
        // Where nothing is restored, nothing is granted, and the first run uses up nothing.
        let now = self.shared.clock.now();
        let nobody = restoration.sandboxes + restoration.orphans + restoration.quarantined == 0;
        let over = if nobody { now.moment } else { absence.fit(whole, now).not_before };
        self.spend_grace(grace_spent, over);
        self.sandboxes.health().move_on(ServingPhase::Starting, ServingPhase::Ready);
        Ok(restoration)
    }

    async fn active_page(&self, from: Option<Cursor>) -> Result<Page, StoreError> {
        self.patiently(|| self.store.active(from.clone(), PAGE)).await
    }

    /// Restores a page, whose sandboxes nobody could ping before. Returns its members without a record.
    async fn restore_page(
        &self,
        entries: Vec<Stored>,
        absence: Absence,
        fallbacks: &Fallbacks,
        restoration: &mut Restoration,
    ) -> Vec<LostRecord> {
        let fitting = absence.fit(fallbacks.clone(), self.shared.clock.now());
        let mut lost = Vec::new();
        let mut batch = self.sandboxes.arbiters.batch();
        for (number, stored) in entries.into_iter().enumerate() {
            match self.restore_member(stored, &fitting, restoration, &mut batch) {
                Member::Restored { completed } => {
                    restoration.sandboxes += 1;
                    restoration.completed += usize::from(completed);
                }
                Member::Lost(member) => lost.push(member),
                Member::Invalid => {}
            }
            if number % BREATH == 0 {
                batch.start();
                tokio::task::yield_now().await;
            }
        }
        lost
    }

    /// What fills the gaps of a record that is restored now.
    pub(super) fn fallbacks(&self, now: Now) -> Fallbacks {
        let lifecycle = &self.settings.lifecycle;
        Fallbacks {
            rules: lifecycle.rules(),
            legacy_ttl: lifecycle.legacy_ttl,
            idle_slack: Some(self.settings.store.flush_interval),
            not_before: now.moment.plus(lifecycle.restart_grace),
        }
    }

    /// Asks the store until it answers.
    pub(super) async fn patiently<F, T>(&self, question: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let ask = || async {
            match question().await {
                Err(StoreError::Unavailable(error)) => Err(error),
                outcome => Ok(outcome),
            }
        };
        let outcome = retry(RETRY, ask, |error, failures| {
            if failures.is_power_of_two() {
                warn!(%error, failures, "the store does not answer; the start waits");
            }
            self.shared.journal.report_answer(Err(&error));
        });
        let outcome = outcome.await;
        self.shared.journal.report_answer(Ok(()));
        outcome
    }

    pub(super) fn restore_member(
        &self,
        stored: Stored,
        fallbacks: &Fallbacks,
        restoration: &mut Restoration,
        batch: &mut SpawnBatch<'_>,
    ) -> Member {
        let Some(id) = std::str::from_utf8(&stored.member).ok().and_then(|text| SandboxId::parse(text).ok()) else {
            // No container of ours can have such an id: nothing is lost by taking it out of the set.
            restoration.quarantined += 1;
            let bytes = if let Found::Record(bytes) = stored.found { bytes } else { Vec::new() };
            self.quarantine(&stored.member, bytes, "the member is not a valid sandbox id".into());
            self.shared.journal.write(Write::Deactivate { member: stored.member });
            return Member::Invalid;
        };
        let now = self.shared.clock.now();
        let (bytes, reason) = match stored.found {
            Found::Nothing => return Member::Lost(LostRecord::of_member(id, stored.score, false)),
            Found::Foreign(what) => (Vec::new(), what),
            Found::Record(bytes) => {
                let read = Record::parse(&bytes)
                    .and_then(|record| restore::restore(&id, record, stored.score, fallbacks, now));
                match read {
                    Ok(back) => {
                        self.spawn_in(batch, back.sandbox, back.effects, back.completed);
                        return Member::Restored { completed: back.completed };
                    }
                    Err(damaged) => (bytes, damaged.to_string()),
                }
            }
        };
        restoration.quarantined += 1;
        self.quarantine(&stored.member, bytes, reason);
        Member::Lost(LostRecord::of_member(id, stored.score, true))
    }

    fn quarantine(&self, member: &[u8], bytes: Vec<u8>, reason: String) {
        let shown = String::from_utf8_lossy(member).into_owned();
        error!(sandbox_id = shown, reason, "a record is not understood; it is kept in quarantine");
        self.shared.metrics.quarantined();
        let at = self.shared.clock.now().wall();
        self.shared.journal.write(Write::Quarantine { member: member.to_vec(), bytes, reason, at });
    }

    /// Starts the actor of a restored sandbox. With `save`, its record is written first.
    pub(super) fn spawn(&self, sandbox: Sandbox, effects: Effects, save: bool) {
        self.spawn_in(&mut self.sandboxes.arbiters.batch(), sandbox, effects, save);
    }

    /// The same, started with all of `batch`.
    fn spawn_in(&self, batch: &mut SpawnBatch<'_>, sandbox: Sandbox, effects: Effects, save: bool) {
        if !sandbox.idle_slack().is_zero() {
            self.owes_slack.store(true, Ordering::Relaxed);
        }
        if sandbox.has_walls() {
            self.has_walls.store(true, Ordering::Relaxed);
        }
        let persist = if save { Persist::Through } else { effects.persist };
        let id = sandbox.id().clone();
        let spawn = || SandboxHandle::spawn_in(&self.shared, batch, sandbox, Effects { persist, ..effects });
        // A page of the store may name a member twice: the first one stays.
        if self.shared.registry.insert_with(&id, |old| self.sandboxes.tell_forgotten(old), spawn).is_ok() {
            self.shared.metrics.restored();
        }
    }

    async fn read_tombstones(&self, fallbacks: &Fallbacks) -> Result<usize, StoreError> {
        let (mut from, mut count): (Option<Cursor>, usize) = (None, 0);
        loop {
            let page = self.patiently(|| self.store.tombstones(from.clone(), PAGE)).await?;
            let now = self.shared.clock.now();
            for stored in page.entries {
                let Found::Record(bytes) = stored.found else { continue };
                let id = std::str::from_utf8(&stored.member).ok().and_then(|text| SandboxId::parse(text).ok());
                let record = Record::parse(&bytes).ok();
                // An unreadable tombstone protects nothing, and expires by itself.
                let Some((id, record)) = id.zip(record) else { continue };
                if let Ok(sandbox) = restore::restore_tombstone(&id, record, fallbacks, now) {
                    let until = now.moment_at(stored.score);
                    self.shared.registry.insert_tombstone(Tombstone { sandbox: Arc::new(sandbox), until });
                    count += 1;
                }
            }
            let Some(next) = page.next else { return Ok(count) };
            from = Some(next);
        }
    }
}
