//! Injected faults and latency.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

use crate::ports::runtime::RuntimeError;

/// A step of a call at which faults can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// The pull in a start.
    Pull,
    /// The creation of the container in a start.
    Create,
    /// The container's start, in a start or a restart.
    Start,
    /// The wait for readiness, in a start or a restart.
    Ready,
    /// An inspection.
    Inspect,
    /// A pause.
    Pause,
    /// A resumption.
    Resume,
    /// The copying of a container's files into a snapshot. The container is frozen meanwhile.
    Snapshot,
    /// The stop in a removal.
    Stop,
    /// The removal after the stop.
    Remove,
    /// A listing.
    List,
    /// Before: the connection of a stream of events. After: the rest of its life.
    Events,
    /// A change or a comparison of what containers may reach.
    Walls,
    /// A check whether the engine answers.
    Check,
    /// A piece of what passes on a connection to an agent, in either direction.
    Wire,
    /// Before: a request for a container's output. After: the rest of what is told of it.
    Output,
}

/// The side of a point's effect on which a fault occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// The effect does not happen.
    Before,
    /// The effect happens, but the caller gets an error.
    After,
}

#[derive(Clone, Debug)]
enum Fault {
    Fail { left: Option<usize>, error: RuntimeError },
    Hang,
    Panic,
}

/// The injected faults and latency.
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

    /// Resolves when a fault is injected or removed after this call.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Waits for the point's latency and applies its fault.
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
            // Registered before the check, so that no change between is missed.
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
