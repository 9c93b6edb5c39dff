//! Tasks that end with the value that needs them.

use tokio::task::JoinHandle;

/// A task. Dropping this ends it.
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn new(running: JoinHandle<()>) -> Self {
        Self(running)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
