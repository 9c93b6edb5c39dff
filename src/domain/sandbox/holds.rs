//! Holds: a sandbox counts as used while a client holds it ([design: holds](crate::design::time::holds)).
//!
//! Every hold has an end, so that a client that crashes keeps no sandbox alive. The idle clock starts again when the last
//! hold was released or has run out.

use super::{
    super::{
        time::{Moment, Now},
        words::ActivitySource,
    },
    details::{Hold, HoldRequest, MOST_COMMAND_HOLDS, MOST_HOLDS, Work},
    effects::{Change, Denied, Effects, Persist},
    state::{Phase, Sandbox, Up},
};

impl Sandbox {
    /// The holds on it that are not over, in the order of their names.
    pub fn holds(&self, now: Moment) -> impl Iterator<Item = &Hold> {
        self.details.holds.iter().filter(move |hold| now < hold.until)
    }

    /// The end of its last known use: a hold counts until it is over.
    pub(super) fn in_use_until(&self) -> Moment {
        self.details.holds.iter().map(|hold| hold.until).fold(self.last_activity(), Moment::max)
    }

    /// When the next hold is over.
    pub(super) fn next_hold_over(&self) -> Option<Moment> {
        self.details.holds.iter().map(|hold| hold.until).min()
    }

    pub(super) fn hold(&mut self, request: HoldRequest, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.held(request, ActivitySource::Hold, now)
    }

    /// Work is refused where it could not be done, or is not wanted any more. A command holds the sandbox from here on.
    pub(super) fn work(&mut self, work: Work, now: Now) -> Result<Effects, Denied> {
        match self.state.phase {
            Phase::Up(Up::Running) => {}
            Phase::Up(Up::Paused { .. }) => return Err(Denied::Paused),
            _ => return Err(self.wrong_state("no work can be done in it now; wait until it runs")),
        }
        if !self.is_active(now.moment) {
            return Err(Denied::Inactive);
        }
        match work.hold {
            Some(hold) => self.held(hold, work.source, now),
            None => {
                self.note_activity(work.source, now);
                let Work { source, .. } = work;
                Ok(Effects::persist(Persist::Behind).used(source).tell(Change::Activity { source }))
            }
        }
    }

    fn held(&mut self, request: HoldRequest, source: ActivitySource, now: Now) -> Result<Effects, Denied> {
        let HoldRequest { name, ttl, reason } = request;
        let since = self.holds(now.moment).find(|hold| hold.name == name).map_or(now.moment, |known| known.since);
        let mut holds: Vec<Hold> = self.holds(now.moment).filter(|hold| hold.name != name).cloned().collect();
        let hold = Hold { name, reason, since, until: now.moment.plus(ttl) };
        let of_kind = holds.iter().filter(|other| other.command().is_some() == hold.command().is_some()).count();
        match hold.command() {
            Some(_) if of_kind >= MOST_COMMAND_HOLDS => return Err(Denied::TooManyCommands),
            None if of_kind >= MOST_HOLDS => return Err(Denied::TooManyHolds),
            _ => holds.push(hold),
        }
        holds.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(self.hold_by(holds, source, now))
    }

    pub(super) fn release(&mut self, name: &str, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        let Some(released) = self.holds(now.moment).find(|hold| &*hold.name == name) else {
            return Err(Denied::NoSuchHold);
        };
        let source = if released.command().is_some() { ActivitySource::Command } else { ActivitySource::Hold };
        let others = self.holds(now.moment).filter(|hold| &*hold.name != name).cloned().collect();
        Ok(self.hold_by(others, source, now))
    }

    fn hold_by(&mut self, holds: Vec<Hold>, source: ActivitySource, now: Now) -> Effects {
        self.details_mut().holds = holds.into();
        self.note_activity(source, now);
        self.write_through().used(source)
    }

    /// Drops the holds that are over, each of which counts as use until its end. Returns whether there were any.
    pub(super) fn drop_holds(&mut self, now: Now) -> bool {
        let over = self.details.holds.iter().map(|hold| hold.until).filter(|until| *until <= now.moment).max();
        let Some(over) = over.filter(|_| self.is_alive()) else { return false };
        let left = self.holds(now.moment).cloned().collect();
        self.details_mut().holds = left;
        // The slack stays, since activity that a restart may have lost can be later than the end of the hold.
        self.state.last_activity = self.state.last_activity.max(over);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{
            super::words::{EndReason, OnTimeout},
            Event, command_hold,
            laws::{at, running},
        },
        *,
    };

    fn hold(name: &str, seconds: u64) -> Event {
        let ttl = Duration::from_secs(seconds);
        Event::Hold(Box::new(HoldRequest { name: name.into(), ttl, reason: Some("a build".into()) }))
    }

    #[test]
    fn the_idle_clock_stands_still_until_the_last_hold_is_over_and_then_starts_again() {
        let mut life = running(OnTimeout::Deactivate);
        let taken = life.apply(hold("a", 300), at(1.0)).unwrap();
        assert_eq!((taken.persist, taken.used), (Persist::Through, Some(ActivitySource::Hold)));
        life.apply(hold("b", 50), at(2.0)).unwrap();
        assert_eq!(life.idle_deadline(), Some(at(401.0).moment));
        // The end of one of two holds is written and told, and moves no deadline.
        assert_eq!(life.next_wake(), Some(at(52.0).moment));
        let over = life.apply(Event::TimerFired, at(52.0)).unwrap();
        assert_eq!((over.persist, over.tell, over.used), (Persist::Through, Some(Change::Changed), None));
        assert_eq!(life.idle_deadline(), Some(at(401.0).moment));
        // A renewed hold keeps its beginning; a release starts the clock.
        life.apply(hold("a", 500), at(60.0)).unwrap();
        assert_eq!(life.holds(at(60.0).moment).next().unwrap().since, at(1.0).moment);
        life.apply(Event::Release("a".into()), at(100.0)).unwrap();
        assert_eq!(life.idle_deadline(), Some(at(200.0).moment));
        assert_eq!(life.apply(Event::TimerFired, at(200.0)).unwrap().ended.unwrap().reason, EndReason::Idle);
        assert_eq!(life.apply(hold("a", 5), at(201.0)), Err(Denied::Terminating { reason: EndReason::Idle }));
    }

    #[test]
    fn a_command_that_holds_is_told_by_its_line() {
        let mut life = running(OnTimeout::Deactivate);
        let line = format!("make\n\ttest {}", "x".repeat(100));
        let begun = HoldRequest::of_command("c1", Duration::from_secs(900), line.into());
        life.apply(Event::Hold(Box::new(begun)), at(1.0)).unwrap();
        let told = |life: &Sandbox, told: &str| {
            let readings = life.readings(&at(3.0));
            assert!(readings.iter().any(|it| it.sentence.starts_with(told)), "{readings:?}");
        };
        let line = format!("command make test {}…;", "x".repeat(50));
        told(&life, &format!("held by {line} once that has ended, it ends in "));
        life.apply(hold("ci", 300), at(2.0)).unwrap();
        told(&life, &format!("held by ci, {line} it ends in "));
    }

    #[test]
    fn a_hold_that_ran_out_unnoticed_counts_until_its_end() {
        let mut life = running(OnTimeout::Deactivate);
        life.apply(hold("a", 30), at(1.0)).unwrap();
        let end = life.apply(Event::TimerFired, at(500.0)).unwrap().ended.unwrap();
        assert_eq!((end.reason, end.deadline), (EndReason::Idle, Some(at(131.0).moment)));
    }

    #[test]
    fn a_hold_that_ran_out_while_nobody_could_use_it_counts_before_the_timer_has_seen_it() {
        let mut life = running(OnTimeout::Deactivate);
        life.apply(hold("a", 100), at(0.0)).unwrap();
        life.apply(Event::ContainerPaused, at(90.0)).unwrap();
        life.apply(Event::ContainerUnpaused, at(200.0)).unwrap();
        assert_eq!(life.idle_deadline(), Some(at(300.0).moment), "a whole timeout was left");
    }

    fn command(id: &str, seconds: u64) -> Event {
        let hold = HoldRequest::of_command(id, Duration::from_secs(seconds), "make".into());
        Event::Work(Box::new(Work { source: ActivitySource::Command, hold: Some(hold) }))
    }

    #[test]
    fn a_command_holds_while_it_runs_and_beside_the_holds_of_clients() {
        let mut life = running(OnTimeout::Deactivate);
        for number in 0..MOST_HOLDS {
            life.apply(hold(&number.to_string(), 5), at(1.0)).unwrap();
        }
        let begun = life.apply(command("c1", 3600), at(1.0)).unwrap();
        assert_eq!((begun.persist, begun.used), (Persist::Through, Some(ActivitySource::Command)));
        assert_eq!(life.idle_deadline(), Some(at(3701.0).moment));
        let held = life.holds(at(10.0).moment).find_map(Hold::command);
        assert_eq!(held, Some("c1"));
        let over = life.apply(Event::Release(command_hold("c1")), at(50.0)).unwrap();
        assert_eq!((over.persist, over.used), (Persist::Through, Some(ActivitySource::Command)));
        assert_eq!(life.idle_deadline(), Some(at(150.0).moment));
        for number in 0..MOST_COMMAND_HOLDS {
            life.apply(command(&number.to_string(), 3600), at(51.0)).unwrap();
        }
        assert_eq!(life.apply(command("more", 3600), at(51.0)), Err(Denied::TooManyCommands));
    }

    #[test]
    fn work_is_use_where_it_can_be_done_and_refused_where_it_cannot() {
        let file = || Event::Work(Box::new(Work { source: ActivitySource::File, hold: None }));
        let mut life = running(OnTimeout::Deactivate);
        assert_eq!(life.apply(file(), at(10.0)).unwrap().used, Some(ActivitySource::File));
        assert_eq!(life.idle_deadline(), Some(at(110.0).moment));
        // The active timeout of these sandboxes is 60 s.
        assert_eq!(life.apply(file(), at(60.0)), Err(Denied::Inactive));
        assert_eq!(life.apply(command("c", 9), at(60.0)), Err(Denied::Inactive));
        assert_eq!(life.idle_deadline(), Some(at(110.0).moment), "what is refused is no use");
        life.apply(Event::KeepAlive(Duration::from_secs(60)), at(61.0)).unwrap();
        life.apply(Event::ContainerPaused, at(62.0)).unwrap();
        assert_eq!(life.apply(file(), at(63.0)), Err(Denied::Paused));
        life.apply(Event::Terminate(EndReason::Requested), at(64.0)).unwrap();
        assert_eq!(life.apply(file(), at(65.0)), Err(Denied::Terminating { reason: EndReason::Requested }));
    }

    #[test]
    fn an_absolute_deadline_acts_on_what_is_held() {
        let mut life = running(OnTimeout::Terminate);
        life.apply(hold("a", 3_000), at(1.0)).unwrap();
        assert_eq!(life.apply(Event::TimerFired, at(60.0)).unwrap().ended.unwrap().reason, EndReason::Expired);
    }

    #[test]
    fn there_are_no_more_holds_than_there_can_be_and_only_those_can_be_released() {
        let mut life = running(OnTimeout::Deactivate);
        for number in 0..MOST_HOLDS {
            life.apply(hold(&number.to_string(), 10), at(1.0)).unwrap();
        }
        assert_eq!(life.apply(hold("more", 10), at(2.0)), Err(Denied::TooManyHolds));
        life.apply(hold("3", 20), at(2.0)).unwrap();
        assert_eq!(life.apply(Event::Release("more".into()), at(2.0)), Err(Denied::NoSuchHold));
        // A hold that is over takes no place even before the timer has fired for it.
        life.apply(hold("more", 10), at(12.0)).unwrap();
        assert_eq!(life.holds(at(12.0).moment).count(), 2);
    }
}
