//! The tests of a binary run in parallel. A test that measures milliseconds waits until no other test is at work, and the
//! others wait for it.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

static TURNS: Mutex<Turns> = Mutex::new(Turns { noisy: 0, waiting: 0, quiet: None });
static CHANGED: Condvar = Condvar::new();

struct Turns {
    /// How many [`Noise`]s exist.
    noisy: usize,
    /// How many tests wait for quiet.
    waiting: usize,
    /// The test that has quiet.
    quiet: Option<ThreadId>,
}

/// Held by a test that keeps the machine busy.
pub struct Noise(());

impl Noise {
    /// Waits while another test needs quiet, unless this test makes noise already.
    pub fn begin() -> Self {
        let me = thread::current().id();
        let others_turn = |turns: &mut Turns| match turns.quiet {
            Some(who) => who != me,
            None => turns.waiting > 0 && turns.noisy == 0,
        };
        let mut turns = CHANGED.wait_while(turns(), others_turn).unwrap_or_else(PoisonError::into_inner);
        turns.noisy += 1;
        Self(())
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        turns().noisy -= 1;
        CHANGED.notify_all();
    }
}

/// Held by a test that needs the machine for itself. [`Noise`] on the same thread does not wait for it.
pub struct Quiet(());

impl Quiet {
    /// Waits until no test makes noise.
    pub fn begin() -> Self {
        let mut turns = turns();
        turns.waiting += 1;
        let busy = |turns: &mut Turns| turns.noisy > 0 || turns.quiet.is_some();
        let mut turns = CHANGED.wait_while(turns, busy).unwrap_or_else(PoisonError::into_inner);
        turns.waiting -= 1;
        turns.quiet = Some(thread::current().id());
        Self(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        turns().quiet = None;
        CHANGED.notify_all();
    }
}

fn turns() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}
