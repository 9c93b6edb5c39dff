//! Waits for children, so that none stays a zombie.
//!
//! A library must not wait for the children of others in its program, so it waits for each of its own. The agent's program
//! starts no others, inherits the orphans of its commands, and waits for whatever ends.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
// nix fails on signals without a name, the real-time ones, when it has already waited for the child.
use rustix::process::{self, WaitOptions, WaitStatus};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::system::Command;

/// How a child has ended; `None` if somebody else has waited for it.
pub(crate) type Exit = oneshot::Receiver<Option<WaitStatus>>;

/// Waits for children.
#[derive(Debug)]
pub(crate) struct Reaper {
    /// Also for children that it does not know.
    all: bool,
    children: Mutex<Children>,
}

#[derive(Debug, Default)]
struct Children {
    known: HashMap<Pid, oneshot::Sender<Option<WaitStatus>>>,
    /// Children that are being started: they may end before they are known, and the standard library waits for those that
    /// do not come as far as `exec`.
    starting: usize,
    listens: bool,
}

impl Reaper {
    pub(super) fn new(all: bool) -> Arc<Self> {
        Arc::new(Self { all, children: Mutex::default() })
    }

    fn children(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a child. It goes on when this is dropped, but then nobody knows it: spawn this.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or signals cannot be listened to.
    pub(crate) async fn spawn(self: &Arc<Self>, command: Command) -> io::Result<(Pid, Exit)> {
        let starting = self.announce()?;
        let pid = tokio::task::spawn_blocking(|| command.spawn()).await.map_err(io::Error::other)??;
        Ok((pid, starting.started(pid)))
    }

    /// Announces a child. It counts as being started until the answer is dropped.
    ///
    /// # Errors
    ///
    /// If signals cannot be listened to.
    fn announce(self: &Arc<Self>) -> io::Result<Starting> {
        let mut children = self.children();
        if !children.listens {
            let mut ended = signal(SignalKind::child())?;
            let reaper = Arc::downgrade(self);
            tokio::spawn(async move {
                while ended.recv().await.is_some() {
                    let Some(reaper) = reaper.upgrade() else { return };
                    reaper.reap(&mut reaper.children());
                }
            });
            children.listens = true;
        }
        children.starting += 1;
        Ok(Starting(Arc::clone(self)))
    }

    /// Sends a signal to the group of a child that has not been waited for, so that no other group can have its number.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the child has ended.
    pub(crate) fn signal(&self, group: Pid, signal: Signal) -> Result<(), Errno> {
        let children = self.children();
        if children.known.contains_key(&group) { killpg(group, signal) } else { Err(Errno::ESRCH) }
    }

    fn reap(&self, children: &mut Children) {
        if self.all && children.starting == 0 {
            children.reap_all();
        } else {
            children.reap_known();
        }
    }
}

impl Children {
    /// Waits for each known child that has ended.
    fn reap_known(&mut self) {
        let known = std::mem::take(&mut self.known).into_iter();
        let wait = |(pid, teller): (Pid, oneshot::Sender<_>)| {
            match process::waitpid(process::Pid::from_raw(pid.as_raw()), WaitOptions::NOHANG) {
                Ok(None) | Err(rustix::io::Errno::INTR) => Some((pid, teller)),
                ended => {
                    // Nobody listens when the agent is being dropped.
                    _ = teller.send(ended.ok().flatten().map(|(_, status)| status));
                    None
                }
            }
        };
        self.known = known.filter_map(wait).collect();
    }

    /// Waits for every child of the program that has ended.
    fn reap_all(&mut self) {
        loop {
            match process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(teller) = self.known.remove(&Pid::from_raw(pid.as_raw_pid())) {
                        _ = teller.send(Some(status));
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// A child that is being started.
#[derive(Debug)]
struct Starting(Arc<Reaper>);

impl Starting {
    /// The child has been started.
    fn started(self, pid: Pid) -> Exit {
        let (teller, exit) = oneshot::channel();
        self.0.children().known.insert(pid, teller);
        exit
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut children = self.0.children();
        children.starting -= 1;
        // It may have ended already, and its signal come too early.
        self.0.reap(&mut children);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_child_that_ends_while_others_are_being_started_is_told() {
        let reaper = Reaper::new(true);
        // It stays: this reaper would wait for the children of other tests.
        std::mem::forget(reaper.announce().unwrap());
        let starting = reaper.announce().unwrap();
        #[expect(clippy::zombie_processes, reason = "the reaper waits for it")]
        let child = std::process::Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let exit = starting.started(pid);
        let exit = tokio::time::timeout(Duration::from_secs(20), exit).await.expect("in time").unwrap();
        assert_eq!(exit.and_then(WaitStatus::exit_status), Some(3));
    }
}
