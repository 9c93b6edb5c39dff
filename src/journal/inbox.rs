//! What waits to be written: the newest state of each sandbox, and who waits for it.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::oneshot;

use super::cell::ActivityCell;
use crate::{
    domain::{Moment, Now, Sandbox, SandboxId, record},
    ports::store::Write,
};

/// Resolves when the store has what it was given for. It waits as long as the store is down. Once resolved it stays so, and
/// may be asked again.
#[derive(Debug)]
pub struct Ticket(State);

#[derive(Debug)]
enum State {
    Waiting(oneshot::Receiver<()>),
    Resolved(bool),
}

impl Ticket {
    fn new() -> (oneshot::Sender<()>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(State::Waiting(receiver)))
    }
}

impl Future for Ticket {
    /// Whether it is stored: false once the journal has stopped for good, which leaves it to the next start.
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        match &mut self.0 {
            State::Resolved(stored) => Poll::Ready(*stored),
            State::Waiting(receiver) => {
                let stored = std::task::ready!(Pin::new(receiver).poll(context)).is_ok();
                self.0 = State::Resolved(stored);
                Poll::Ready(stored)
            }
        }
    }
}

/// The most entries of one commit. However much waits, a commit stays small enough to be done within the store's time.
const BATCH: usize = 5_000;

/// How a sandbox's newest state is to be written.
#[derive(Debug)]
enum Kind {
    Put,
    Bury { retention: Duration },
}

/// The newest state of one sandbox.
#[derive(Debug)]
struct Entry {
    sandbox: Sandbox,
    cell: ActivityCell,
    kind: Kind,
    /// Since when something of it waits.
    since: Moment,
    waiting: Vec<oneshot::Sender<()>>,
    /// The last activity that is being written.
    written: Moment,
}

/// What is to be written next. In the order of ids: a history that is played again is the same to the last step.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    transitions: BTreeMap<SandboxId, Entry>,
    touched: BTreeMap<SandboxId, Entry>,
    /// Writes that belong to no sandbox of ours, in their order.
    others: Vec<(Write, oneshot::Sender<()>)>,
    /// How many times the touched sandboxes were taken.
    generation: u64,
    /// How much was taken and is neither written nor put back: a store that hangs has it, and may never take it.
    under_way: usize,
    pub(super) closed: bool,
    /// Whether activity came after the end, which is not written any more.
    pub(super) missed: bool,
}

/// What one commit carries.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: BTreeMap<SandboxId, Entry>,
    others: Vec<(Write, oneshot::Sender<()>)>,
}

impl Inbox {
    pub(super) fn put(&mut self, sandbox: Sandbox, cell: ActivityCell, since: Moment) -> Ticket {
        self.transition(sandbox, cell, Kind::Put, since)
    }

    pub(super) fn bury(&mut self, sandbox: Sandbox, cell: ActivityCell, retention: Duration, since: Moment) -> Ticket {
        self.transition(sandbox, cell, Kind::Bury { retention }, since)
    }

    fn transition(&mut self, sandbox: Sandbox, cell: ActivityCell, kind: Kind, since: Moment) -> Ticket {
        let (sender, ticket) = Ticket::new();
        let id = sandbox.id().clone();
        let mut entry = Entry::new(sandbox, cell, kind, since);
        // A transition carries the newest activity along.
        self.touched.remove(&id);
        if let Some(older) = self.transitions.remove(&id) {
            entry.since = older.since;
            entry.waiting = older.waiting;
            // Whoever no longer waits is not remembered either: memory is bounded also while nothing is written.
            entry.waiting.retain(|sender| !sender.is_closed());
        }
        if !self.closed {
            entry.waiting.push(sender);
            self.transitions.insert(id, entry);
        }
        ticket
    }

    /// Queues a sandbox whose cell has moved. Returns the generation that it is queued in: a coming flush reads its cell for
    /// as long as that is the current one.
    pub(super) fn touch(&mut self, sandbox: &Sandbox, cell: &ActivityCell, since: Moment) -> u64 {
        let id = sandbox.id();
        self.missed |= self.closed;
        // A transition that still waits reads the same cell when it is written.
        if !self.closed && !self.transitions.contains_key(id) {
            let entry = || Entry::new(sandbox.clone(), cell.clone(), Kind::Put, since);
            self.touched.entry(id.clone()).or_insert_with(entry);
        }
        self.generation
    }

    pub(super) fn other(&mut self, write: Write) -> Ticket {
        let (sender, ticket) = Ticket::new();
        if !self.closed {
            self.others.push((write, sender));
        }
        ticket
    }

    pub(super) fn has_transitions(&self) -> bool {
        !self.transitions.is_empty() || !self.others.is_empty()
    }

    pub(super) fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// What is to be written next, at most [`BATCH`] of it: transitions first, the touched sandboxes only when their time
    /// has come. Begins a new generation.
    pub(super) fn take(&mut self, with_touched: bool, generation: &AtomicU64) -> Batch {
        let mut entries = take_some(&mut self.transitions, BATCH);
        if with_touched {
            entries.extend(take_some(&mut self.touched, BATCH - entries.len()));
        }
        let others = self.others.len().min(BATCH);
        // Every entry that is taken is about to be read: who moves its cell from now on has to queue again. The counter
        // moves before the cells are read, so whoever still saw the old one has moved the cell before.
        self.generation += 1;
        generation.store(self.generation, Ordering::SeqCst);
        let batch = Batch { entries, others: self.others.drain(..others).collect() };
        self.under_way = batch.entries.len() + batch.others.len();
        batch
    }

    /// The store has what was taken last.
    pub(super) fn written(&mut self) {
        self.under_way = 0;
    }

    /// Takes back what could not be written. What has come since is newer and stays; it inherits who waits.
    pub(super) fn put_back(&mut self, batch: Batch) {
        self.under_way = 0;
        for (id, older) in batch.entries {
            self.touched.remove(&id);
            match self.transitions.get_mut(&id) {
                Some(newer) => {
                    newer.since = older.since;
                    newer.waiting.extend(older.waiting);
                }
                None => {
                    self.transitions.insert(id, older);
                }
            }
        }
        let newer = std::mem::replace(&mut self.others, batch.others);
        self.others.extend(newer);
    }

    /// Whether anything is left of a turn that took as much as a batch holds.
    pub(super) fn has_more(&self, with_touched: bool) -> bool {
        self.has_transitions() || (with_touched && self.has_touched())
    }

    /// When the oldest thing that waits began to.
    pub(super) fn oldest(&self) -> Option<Moment> {
        self.transitions.values().chain(self.touched.values()).map(|entry| entry.since).min()
    }

    /// How many things the store does not have yet.
    pub(super) fn len(&self) -> usize {
        self.transitions.len() + self.touched.len() + self.others.len() + self.under_way
    }
}

/// Takes up to `most` entries out, all at once where that is all of them.
fn take_some(entries: &mut BTreeMap<SandboxId, Entry>, most: usize) -> BTreeMap<SandboxId, Entry> {
    if entries.len() <= most {
        return std::mem::take(entries);
    }
    std::iter::from_fn(|| entries.pop_first()).take(most).collect()
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.others.is_empty()
    }

    /// When the oldest thing in it began to wait.
    pub(super) fn oldest(&self) -> Option<Moment> {
        self.entries.values().map(|entry| entry.since).min()
    }

    /// The writes. Other members' come first: they belong to the past.
    pub(super) fn writes(&mut self, now: &Now, flush_interval: Duration) -> Vec<Write> {
        let others = self.others.iter().map(|(write, _)| write.clone());
        others.chain(self.entries.values_mut().map(|entry| entry.write(now, flush_interval))).collect()
    }

    /// Tells everyone who waits that it is stored.
    pub(super) fn stored(self) {
        let waiting = self.entries.into_values().flat_map(|entry| {
            entry.cell.set_stored(entry.written);
            entry.waiting
        });
        for sender in waiting.chain(self.others.into_iter().map(|(_, sender)| sender)) {
            // Whoever no longer waits does not need to know.
            let _ = sender.send(());
        }
    }
}

impl Entry {
    fn new(sandbox: Sandbox, cell: ActivityCell, kind: Kind, since: Moment) -> Self {
        Self { sandbox, cell, kind, since, waiting: Vec::new(), written: Moment::DISTANT_PAST }
    }

    fn write(&mut self, now: &Now, flush_interval: Duration) -> Write {
        let last_activity = self.cell.load().max(self.sandbox.last_activity());
        self.written = last_activity;
        let record = record::encode(&self.sandbox, last_activity, flush_interval, now);
        let id = self.sandbox.id().clone();
        match self.kind {
            Kind::Put => Write::Put { id, record, last_activity: now.wall_at(last_activity) },
            Kind::Bury { retention } => Write::Bury { id, record, retention },
        }
    }
}
