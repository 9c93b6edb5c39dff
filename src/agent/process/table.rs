//! All processes: those that run, and those that have ended not long ago.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::{errno::Errno, sys::signal::Signal, unistd::Pid};
use tokio::time::Instant;

use super::{
    launch::{Ended, Process},
    messages::Selector,
    reaper::Reaper,
};
use crate::connect::{Code, Error};

/// The processes that run at a time, at most.
pub(super) const RUNNING_BOUND: usize = 1024;

/// The ended processes that are remembered, at most.
const ENDED_BOUND: usize = 256;

/// The bytes of output of all ended processes that are kept, at most.
const ENDED_BYTES_BOUND: usize = 64 << 20;

/// How long an ended process is remembered.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// All processes of an agent.
#[derive(Debug)]
pub(crate) struct Processes {
    pub(crate) reaper: Arc<Reaper>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    running: HashMap<u32, Arc<Process>>,
    /// The tags of those that are being started.
    starting: Vec<Option<String>>,
    /// The oldest first.
    ended: VecDeque<(Instant, Arc<Process>)>,
    /// Whether a task forgets ended ones in time.
    forgets: bool,
}

impl Processes {
    pub(crate) fn new(reaps_orphans: bool) -> Arc<Self> {
        Arc::new(Self { reaper: Reaper::new(reaps_orphans), table: Mutex::default() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a place for a process.
    ///
    /// # Errors
    ///
    /// `resource_exhausted` if too many run, `already_exists` if one that runs has the tag.
    pub(super) fn reserve(self: &Arc<Self>, tag: Option<&String>) -> Result<Place, Error> {
        let mut table = self.table();
        if table.running.len() + table.starting.len() >= RUNNING_BOUND {
            let message = format!("{RUNNING_BOUND} processes run, and no more can at a time: end one or wait for one");
            return Err(Error::new(Code::ResourceExhausted, message));
        }
        let running = table.running.values().filter_map(|process| process.tag.as_ref());
        if let Some(tag) = tag
            && running.chain(table.starting.iter().flatten()).any(|taken| taken == tag)
        {
            return Err(Error::new(Code::AlreadyExists, format!("a process with the tag {tag:?} runs already")));
        }
        table.starting.push(tag.cloned());
        Ok(Place { processes: Arc::clone(self), tag: tag.cloned() })
    }

    /// Finds a process: one that runs first, then the one that ended last.
    ///
    /// # Errors
    ///
    /// `invalid_argument` if none is named, `not_found` if there is none.
    pub(super) fn find(&self, selector: Option<&Selector>) -> Result<Arc<Process>, Error> {
        let missing = || Error::invalid("process is missing: give {\"pid\": NUMBER} or {\"tag\": TEXT}");
        let selector = selector.ok_or_else(missing)?;
        let is_meant = |process: &&Arc<Process>| match selector {
            Selector::Pid(pid) => process.pid == *pid,
            Selector::Tag(tag) => process.tag.as_ref() == Some(tag),
        };
        let table = self.table();
        let found = match selector {
            Selector::Pid(pid) => table.running.get(pid),
            Selector::Tag(_) => table.running.values().find(is_meant),
        };
        let found = found.or_else(|| table.ended.iter().rev().map(|(_, process)| process).find(is_meant));
        found.cloned().ok_or_else(|| match selector {
            Selector::Pid(pid) => Error::not_found(format!("there is no process with pid {pid}")),
            Selector::Tag(tag) => Error::not_found(format!("there is no process with the tag {tag:?}")),
        })
    }

    /// All that run, and on demand those that have ended; the oldest first.
    pub(super) fn list(&self, with_ended: bool) -> Vec<Arc<Process>> {
        let table = self.table();
        let ended = table.ended.iter().filter(|_| with_ended).map(|(_, process)| process);
        let mut all: Vec<_> = ended.chain(table.running.values()).cloned().collect();
        all.sort_by(|one, other| one.started_at.total_cmp(&other.started_at).then(one.pid.cmp(&other.pid)));
        all
    }

    /// Sends a signal to a process and its group.
    ///
    /// # Errors
    ///
    /// `not_found` if it has ended, `permission_denied` if it may not be sent.
    pub(super) fn signal(&self, process: &Process, signal: Signal) -> Result<(), Error> {
        let group = Pid::from_raw(process.pid.cast_signed());
        self.reaper.signal(group, signal).map_err(|error| match error {
            Errno::ESRCH => Error::not_found(format!("process {} has ended", process.pid)),
            error => Error::io(&format!("cannot send {signal} to process {}", process.pid), &error.into()),
        })
    }

    /// Kills all groups.
    pub(crate) fn kill_all(&self) {
        for pid in self.table().running.keys() {
            // One that has ended just now is no trouble.
            _ = self.reaper.signal(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }

    /// A process has ended: it is remembered for a while. Its end is told when its tag and its place are free again.
    pub(super) fn remember(self: &Arc<Self>, process: &Arc<Process>, ended: Ended) {
        let mut table = self.table();
        // Its number may have been given to another by now.
        if table.running.get(&process.pid).is_some_and(|running| Arc::ptr_eq(running, process)) {
            table.running.remove(&process.pid);
        }
        process.tell_end(ended);
        table.ended.push_back((Instant::now(), Arc::clone(process)));
        let mut bytes: usize = table.ended.iter().map(|(_, process)| process.output.len()).sum();
        while table.ended.len() > ENDED_BOUND || bytes > ENDED_BYTES_BOUND {
            let Some((_, forgotten)) = table.ended.pop_front() else { break };
            bytes = bytes.saturating_sub(forgotten.output.len());
        }
        if !table.forgets {
            table.forgets = true;
            let processes = Arc::downgrade(self);
            tokio::spawn(async move {
                while let Some(next) = processes.upgrade().and_then(|processes| processes.forget()) {
                    tokio::time::sleep_until(next).await;
                }
            });
        }
    }

    /// Forgets those whose time is up, and tells when to come again, if ever.
    fn forget(&self) -> Option<Instant> {
        let mut table = self.table();
        while table.ended.front().is_some_and(|(at, _)| at.elapsed() >= REMEMBERED) {
            table.ended.pop_front();
        }
        let next = table.ended.front().map(|(at, _)| *at + REMEMBERED);
        table.forgets = next.is_some();
        next
    }
}

/// A place for a process that is being started. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    processes: Arc<Processes>,
    tag: Option<String>,
}

impl Place {
    /// The process runs.
    pub(super) fn take(self, process: &Arc<Process>) {
        self.processes.table().running.insert(process.pid, Arc::clone(process));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.processes.table();
        if let Some(at) = table.starting.iter().position(|tag| *tag == self.tag) {
            table.starting.swap_remove(at);
        }
    }
}
