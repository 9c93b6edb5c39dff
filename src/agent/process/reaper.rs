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
    sys::{
        signal::{Signal, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// How a child has ended; `None` if somebody else has waited for it.
pub(super) type Exit = oneshot::Receiver<Option<WaitStatus>>;

/// Waits for children.
#[derive(Debug)]
pub(super) struct Reaper {
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

    /// Announces a child. It counts as being started until the answer is dropped.
    ///
    /// # Errors
    ///
    /// If signals cannot be listened to.
    pub(super) fn announce(self: &Arc<Self>) -> io::Result<Starting> {
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
    pub(super) fn signal(&self, group: Pid, signal: Signal) -> Result<(), Errno> {
        let children = self.children();
        if children.known.contains_key(&group) { killpg(group, signal) } else { Err(Errno::ESRCH) }
    }

    fn reap(&self, children: &mut Children) {
        if !self.all {
            children.known = std::mem::take(&mut children.known)
                .into_iter()
                .filter_map(|(pid, teller)| match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Some((pid, teller)),
                    status => {
                        // Nobody listens when the agent is being dropped.
                        _ = teller.send(status.ok());
                        None
                    }
                })
                .collect();
        } else if children.starting == 0 {
            loop {
                match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) => return,
                    Ok(status) => {
                        if let Some(teller) = status.pid().and_then(|pid| children.known.remove(&pid)) {
                            _ = teller.send(Some(status));
                        }
                    }
                    Err(Errno::EINTR) => {}
                    Err(_) => return,
                }
            }
        }
    }
}

/// A child that is being started.
#[derive(Debug)]
pub(super) struct Starting(Arc<Reaper>);

impl Starting {
    /// The child has been started.
    pub(super) fn started(self, pid: Pid) -> Exit {
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
