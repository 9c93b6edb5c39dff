//! What goes wrong, and where.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

use crate::ports::runtime::RuntimeError;

/// A step of a call at which something can be made to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// In a start: the image is looked for.
    Pull,
    /// In a start: the container comes to be, and does not run yet.
    Create,
    /// In a start or a restart: the container runs.
    Start,
    /// In a start or a restart: the container is ready.
    Ready,
    /// A look at the container.
    Inspect,
    /// The container is frozen.
    Pause,
    /// The container is thawed.
    Resume,
    /// In a removal: the container ends.
    Stop,
    /// In a removal: the container is gone.
    Remove,
    /// All containers are listed.
    List,
    /// A stream of events connects; after that, its next event, or its silence.
    Events,
    /// Whether the engine answers.
    Check,
}

/// On which side of a point's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// Nothing happened.
    Before,
    /// It happened, but the caller is told otherwise.
    After,
}

#[derive(Clone, Debug)]
enum Fault {
    Fail { left: Option<usize>, error: RuntimeError },
    Hang,
    Panic,
}

/// The faults that are set, and the latency.
#[derive(Default)]
pub(super) struct Faults {
    set: Mutex<Set>,
    changed: Notify,
}

#[derive(Default)]
struct Set {
    faults: HashMap<(Point, When), Fault>,
    latency: Duration,
    latency_of: HashMap<Point, Duration>,
}

impl Faults {
    pub(super) fn fail(&self, point: Point, when: When, times: Option<usize>, error: RuntimeError) {
        self.lock().faults.insert((point, when), Fault::Fail { left: times, error });
        self.changed.notify_waiters();
    }

    pub(super) fn hang(&self, point: Point, when: When) {
        self.lock().faults.insert((point, when), Fault::Hang);
        self.changed.notify_waiters();
    }

    pub(super) fn panic(&self, point: Point, when: When) {
        self.lock().faults.insert((point, when), Fault::Panic);
        self.changed.notify_waiters();
    }

    pub(super) fn heal(&self, points: impl Fn(Point) -> bool) {
        self.lock().faults.retain(|(point, _), _| !points(*point));
        self.changed.notify_waiters();
    }

    pub(super) fn set_latency(&self, point: Option<Point>, latency: Duration) {
        let mut set = self.lock();
        match point {
            Some(point) => _ = set.latency_of.insert(point, latency),
            None => set.latency = latency,
        }
    }

    /// Until a fault is set or healed, from the moment of this call on.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Takes as long as the point takes, and goes wrong if it shall.
    pub(super) async fn pass(&self, point: Point, when: When) -> Result<(), RuntimeError> {
        if when == When::Before {
            let latency = {
                let set = self.lock();
                set.latency_of.get(&point).copied().unwrap_or(set.latency)
            };
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
        }
        loop {
            // Registered before the look, so that a healing between the two is not missed.
            let changed = self.changed();
            match self.take(point, when) {
                None => return Ok(()),
                Some(Fault::Fail { error, .. }) => return Err(error),
                Some(Fault::Hang) => changed.await,
                Some(Fault::Panic) => panic!("on purpose, at {point:?}"),
            }
        }
    }

    fn take(&self, point: Point, when: When) -> Option<Fault> {
        let mut set = self.lock();
        let fault = set.faults.get_mut(&(point, when))?;
        let taken = fault.clone();
        if let Fault::Fail { left: Some(left), .. } = fault {
            *left = left.saturating_sub(1);
            if *left == 0 {
                set.faults.remove(&(point, when));
            }
        }
        if matches!(taken, Fault::Panic) {
            set.faults.remove(&(point, when));
        }
        Some(taken)
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
