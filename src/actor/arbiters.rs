//! The threads that actors live on.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
};

use actix::{Arbiter, ArbiterHandle, System};

use crate::domain::SandboxId;

/// Threads of our own: an actor that was started on a web worker would die with the server. An id's arbiter is fixed by
/// its hash.
pub struct Arbiters {
    handles: Vec<ArbiterHandle>,
    /// Whether the threads were started here; those of others are not ours to stop.
    owned: bool,
}

impl Arbiters {
    /// Starts `count` threads, at least one.
    pub fn start(count: usize) -> Self {
        Self { handles: (0..count.max(1)).map(|_| Arbiter::new().handle()).collect(), owned: true }
    }

    /// The caller's own thread: tests pause its time.
    pub fn current() -> Self {
        Self { handles: vec![Arbiter::current()], owned: false }
    }

    /// The thread that an id's actor lives on.
    pub(super) fn of(&self, id: &SandboxId) -> &ArbiterHandle {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let index = hasher.finish() % self.handles.len() as u64;
        &self.handles[usize::try_from(index).unwrap_or(0)]
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
