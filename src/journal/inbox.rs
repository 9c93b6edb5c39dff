//! The pending writes: the newest state of each sandbox, and the tickets that wait for it.

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

/// Resolves when the store has the write; waits while the store is down. Can be polled again once resolved.
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
    /// Whether the write is stored; false if the journal has stopped before.
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

/// The most entries of one commit, so that it completes within the store's timeout.
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
    /// Since when it has been waiting.
    since: Moment,
    waiting: Vec<oneshot::Sender<()>>,
    /// The last activity in the commit that is under way.
    written: Moment,
}

/// The pending writes, sorted by id so that tests can be repeated exactly.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    transitions: BTreeMap<SandboxId, Entry>,
    touched: BTreeMap<SandboxId, Entry>,
    /// Writes that belong to no sandbox, in their order.
    others: Vec<(Write, oneshot::Sender<()>)>,
    /// How many batches were taken.
    generation: u64,
    /// How many writes were taken and are neither written nor put back.
    under_way: usize,
    pub(super) closed: bool,
    /// Whether there was activity after the end, which is not written any more.
    pub(super) missed: bool,
}

/// The content of one commit.
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
        // A transition includes the newest activity.
        self.touched.remove(&id);
        if let Some(older) = self.transitions.remove(&id) {
            entry.since = older.since;
            entry.waiting = older.waiting;
            // Dropped tickets are removed, so that memory is bounded while nothing can be written.
            entry.waiting.retain(|sender| !sender.is_closed());
        }
        if !self.closed {
            entry.waiting.push(sender);
            self.transitions.insert(id, entry);
        }
        ticket
    }

    /// Queues a sandbox whose cell has changed and returns the current generation. As long as that does not change, the next
    /// flush will read the cell.
    pub(super) fn touch(&mut self, sandbox: &Sandbox, cell: &ActivityCell, since: Moment) -> u64 {
        let id = sandbox.id();
        self.missed |= self.closed;
        // A pending transition reads the same cell when it is written.
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

    /// Takes at most [`BATCH`] entries: transitions first, and touched sandboxes if a flush is due. Begins a new generation.
    pub(super) fn take(&mut self, with_touched: bool, generation: &AtomicU64) -> Batch {
        let mut entries = take_some(&mut self.transitions, BATCH);
        if with_touched {
            entries.extend(take_some(&mut self.touched, BATCH - entries.len()));
        }
        let others = self.others.len().min(BATCH);
        // An actor that changes its cell from now on has to queue again. The counter changes before the cells are read, so an
        // actor that still reads the old value has changed its cell before.
        self.generation += 1;
        generation.store(self.generation, Ordering::SeqCst);
        let batch = Batch { entries, others: self.others.drain(..others).collect() };
        self.under_way = batch.entries.len() + batch.others.len();
        batch
    }

    /// Notes that the last batch is written.
    pub(super) fn written(&mut self) {
        self.under_way = 0;
    }

    /// Puts back a batch that could not be written. Newer states replace those in it and inherit their tickets.
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

    /// Whether another batch can be taken.
    pub(super) fn has_more(&self, with_touched: bool) -> bool {
        self.has_transitions() || (with_touched && self.has_touched())
    }

    /// Since when the oldest entry has been waiting.
    pub(super) fn oldest(&self) -> Option<Moment> {
        self.transitions.values().chain(self.touched.values()).map(|entry| entry.since).min()
    }

    /// The number of writes that the store does not have yet.
    pub(super) fn len(&self) -> usize {
        self.transitions.len() + self.touched.len() + self.others.len() + self.under_way
    }
}

/// Takes up to `most` entries.
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

    /// Since when its oldest entry has been waiting.
    pub(super) fn oldest(&self) -> Option<Moment> {
        self.entries.values().map(|entry| entry.since).min()
    }

    /// The writes. Those that belong to no sandbox come first, since they are about the past.
    pub(super) fn writes(&mut self, now: &Now, flush_interval: Duration) -> Vec<Write> {
        let others = self.others.iter().map(|(write, _)| write.clone());
        others.chain(self.entries.values_mut().map(|entry| entry.write(now, flush_interval))).collect()
    }

    /// Resolves all tickets.
    pub(super) fn stored(self) {
        let waiting = self.entries.into_values().flat_map(|entry| {
            entry.cell.set_stored(entry.written);
            entry.waiting
        });
        for sender in waiting.chain(self.others.into_iter().map(|(_, sender)| sender)) {
            // The ticket may have been dropped.
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
