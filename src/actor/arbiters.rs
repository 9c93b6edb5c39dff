//! The threads that actors live on.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
};

use actix::{
    Addr, Arbiter, ArbiterHandle, Context, System,
    dev::channel::{AddressReceiver, channel},
};

use super::sandbox::SandboxActor;
use crate::domain::SandboxId;

/// The capacity of a mailbox. Messages are only sent by `do_send`, which ignores it.
const MAILBOX: usize = 16;

/// The threads of the actors, since an actor on a web worker's thread would end with the server. The hash of an id decides on
/// which one its actor runs.
pub struct Arbiters {
    handles: Vec<ArbiterHandle>,
    /// Whether the threads were started here, and may be stopped.
    owned: bool,
}

impl Arbiters {
    /// Starts `count` threads, at least one.
    pub fn start(count: usize) -> Self {
        Self { handles: (0..count.max(1)).map(|_| Arbiter::new().handle()).collect(), owned: true }
    }

    /// Uses the caller's own thread, whose time tests can pause.
    pub fn current() -> Self {
        Self { handles: vec![Arbiter::current()], owned: false }
    }

    /// The thread of an id's actor.
    fn index_of(&self, id: &SandboxId) -> usize {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let index = hasher.finish() % self.handles.len() as u64;
        usize::try_from(index).unwrap_or(0)
    }

    /// Whether all threads take work.
    pub fn are_alive(&self) -> bool {
        self.handles.iter().all(|handle| handle.spawn_fn(|| ()))
    }

    /// Actors that are to be started together.
    pub fn batch(&self) -> SpawnBatch<'_> {
        SpawnBatch { arbiters: self, waiting: self.handles.iter().map(|_| Vec::new()).collect() }
    }

    /// Ends the threads that were started here. The actors on them are dropped; their sandboxes live on in the store.
    pub fn stop(&self) {
        if self.owned {
            for handle in &self.handles {
                handle.stop();
            }
        }
    }
}

/// Actors that have an address and are not started yet, so that each thread is woken once for all of them. Dropping this starts
/// them.
pub struct SpawnBatch<'a> {
    arbiters: &'a Arbiters,
    /// By thread.
    waiting: Vec<Vec<(AddressReceiver<SandboxActor>, SandboxActor)>>,
}

impl SpawnBatch<'_> {
    pub(super) fn add(&mut self, actor: SandboxActor) -> Addr<SandboxActor> {
        let (sender, receiver) = channel(MAILBOX);
        self.waiting[self.arbiters.index_of(actor.sandbox.id())].push((receiver, actor));
        Addr::new(sender)
    }

    /// Starts those that wait.
    pub fn start(&mut self) {
        for (arbiter, waiting) in self.arbiters.handles.iter().zip(&mut self.waiting) {
            if waiting.is_empty() {
                continue;
            }
            let actors = std::mem::take(waiting);
            // A thread that has ended starts nothing, and questions to its actors are not answered.
            arbiter.spawn_fn(move || {
                for (receiver, actor) in actors {
                    actix::spawn(Context::with_receiver(receiver).into_future(actor));
                }
            });
        }
    }
}

impl Drop for SpawnBatch<'_> {
    fn drop(&mut self) {
        self.start();
    }
}

/// Runs `main` in an actix system over a runtime with I/O threads of its own.
///
/// # Errors
/// When the runtime cannot be built.
pub fn run_system<F: Future>(main: F) -> io::Result<F::Output> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).thread_name("sandglass-io").enable_all().build()?;
    let runner = System::with_tokio_rt(|| runtime);
    Ok(runner.block_on(main))
}
