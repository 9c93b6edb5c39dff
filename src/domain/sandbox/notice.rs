//! What watchers are told: the visible changes of a step, and the warning before an end.

use std::{sync::Arc, time::Duration};

use super::{
    super::time::{Moment, Now},
    clocks::Action,
    effects::{Change, Effects},
    rules::RuleClock,
    state::Sandbox,
};

impl Sandbox {
    /// The change that a step has made, as watchers are told of it.
    pub(super) fn change_since(&self, before: &Self, effects: &Effects) -> Option<Change> {
        let from = before.status();
        if self.is_gone() {
            return (!before.is_gone()).then_some(Change::Removed);
        }
        if from != self.status() {
            return Some(Change::Status { from });
        }
        if effects.tell.is_some() {
            return effects.tell.clone();
        }
        if let Some(source) = effects.used {
            return Some(Change::Activity { source });
        }
        if !Arc::ptr_eq(&self.details, &before.details) {
            return Some(Change::Changed);
        }
        (self.times() != before.times()).then_some(Change::Moved)
    }

    /// The visible times.
    fn times(&self) -> (Moment, Moment, Option<Moment>, Option<Moment>) {
        (self.last_activity(), self.expires_at(), self.idle_deadline(), self.terminates_at())
    }

    /// When the next end, retry, warning or end of a hold is due.
    pub fn next_wake(&self) -> Option<Moment> {
        let act = self.next_action().map(|(at, _)| self.warns_at(at).map_or(at, |warning| warning.min(at)));
        let over = self.next_hold_over().filter(|_| self.is_alive());
        over.into_iter().chain(act).min()
    }

    /// When to warn of the end at `end`; `None` if watchers were warned already, or nobody watches.
    fn warns_at(&self, end: Moment) -> Option<Moment> {
        let warning = &self.state.warning;
        let is_due_once = warning.ahead == end && warning.warned != end;
        (is_due_once && !warning.before.is_zero()).then_some(warning.at)
    }

    /// How long before an end watchers are warned; zero if nobody watches.
    pub fn warned_before(&self) -> Duration {
        self.state.warning.before
    }

    pub(super) fn watched(&mut self, before: Duration) -> Effects {
        self.state.warning.before = before;
        Effects::NONE
    }

    /// Schedules the warning of the next end. If that end is less than twice the configured time away when it is first
    /// seen, the warning comes at half of the remaining time.
    pub(super) fn look_ahead(&mut self, now: Now) {
        let before = self.state.warning.before;
        if before.is_zero() {
            return;
        }
        let Some((end, action)) = self.next_action() else { return };
        let can_be_kept = match action {
            Action::End(rule) => rule.clock != RuleClock::Heartbeat,
            // Watchers were warned of a pause that is retried.
            Action::Pause(_) => self.expires_at() > now.moment,
            Action::Retry => false,
        };
        let warning = &mut self.state.warning;
        if can_be_kept && warning.ahead != end {
            warning.ahead = end;
            warning.at = end.minus(before.min(end.since(now.moment) / 2));
        }
    }

    /// Returns the warning if it is due.
    pub(super) fn warn(&mut self, now: Now) -> Effects {
        match self.next_action() {
            Some((end, _)) if self.warns_at(end).is_some_and(|at| at <= now.moment) => {
                self.state.warning.warned = end;
                Effects::NONE.tell(Change::Expiring)
            }
            _ => Effects::NONE,
        }
    }
}
