//! Injected faults.

use std::{collections::HashMap, time::Duration};

use crate::ports::store::StoreError;

/// A call of the port at which faults can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// Taking the lease.
    Acquire,
    /// Renewing it.
    Renew,
    /// Releasing it.
    Release,
    /// Writing.
    Commit,
    /// Reading one member of the active set.
    Get,
    /// Paging through the active set.
    Active,
    /// Paging through the tombstones.
    Tombstones,
    /// Reading the quarantine.
    Quarantined,
    /// Looking for missing records.
    Missing,
    /// Reading the hazards.
    Hazards,
    /// Reading and writing the spent grace.
    Grace,
}

impl Point {
    /// All points.
    pub const ALL: [Self; 11] = [
        Self::Acquire,
        Self::Renew,
        Self::Release,
        Self::Commit,
        Self::Get,
        Self::Active,
        Self::Tombstones,
        Self::Quarantined,
        Self::Missing,
        Self::Hazards,
        Self::Grace,
    ];
}

/// The faults of one point. A permanent failure takes precedence over counted ones, and counted ones before the effect over
/// those after it.
#[derive(Clone, Debug, Default)]
struct Plan {
    always: Option<StoreError>,
    before: Vec<(usize, StoreError)>,
    after: Vec<(usize, StoreError)>,
    delay: Option<Duration>,
    hang: bool,
    /// How many calls will panic, like an adapter with a bug.
    panics: usize,
}

/// The faults of all points.
#[derive(Debug, Default)]
pub(super) struct Faults(HashMap<Point, Plan>);

/// How one call ends.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    /// It succeeds.
    Well,
    /// It panics.
    Panics,
    /// It fails without an effect.
    Before(StoreError),
    /// It has its effect, and then fails.
    After(StoreError),
}

impl Faults {
    pub(super) fn before(&mut self, point: Point, times: usize, error: StoreError) {
        self.0.entry(point).or_default().before.push((times, error));
    }

    pub(super) fn after(&mut self, point: Point, times: usize, error: StoreError) {
        self.0.entry(point).or_default().after.push((times, error));
    }

    pub(super) fn always(&mut self, point: Point, error: StoreError) {
        self.0.entry(point).or_default().always = Some(error);
    }

    pub(super) fn delay(&mut self, point: Point, delay: Duration) {
        self.0.entry(point).or_default().delay = Some(delay);
    }

    pub(super) fn hang(&mut self, point: Point) {
        self.0.entry(point).or_default().hang = true;
    }

    pub(super) fn panic(&mut self, point: Point, times: usize) {
        self.0.entry(point).or_default().panics += times;
    }

    pub(super) fn heal(&mut self, point: Point) {
        self.0.remove(&point);
    }

    pub(super) fn delay_of(&self, point: Point) -> Option<Duration> {
        self.0.get(&point).and_then(|plan| plan.delay)
    }

    pub(super) fn hangs(&self, point: Point) -> bool {
        self.0.get(&point).is_some_and(|plan| plan.hang)
    }

    /// Decides and counts the fate of one call.
    pub(super) fn fate(&mut self, point: Point) -> Fate {
        let Some(plan) = self.0.get_mut(&point) else { return Fate::Well };
        if plan.panics > 0 {
            plan.panics -= 1;
            return Fate::Panics;
        }
        if let Some(error) = &plan.always {
            return Fate::Before(error.clone());
        }
        if let Some(error) = take_one(&mut plan.before) {
            return Fate::Before(error);
        }
        take_one(&mut plan.after).map_or(Fate::Well, Fate::After)
    }
}

fn take_one(planned: &mut Vec<(usize, StoreError)>) -> Option<StoreError> {
    planned.retain(|(times, _)| *times > 0);
    let (times, error) = planned.first_mut()?;
    *times -= 1;
    Some(error.clone())
}
