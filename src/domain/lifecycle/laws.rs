//! The laws of the lifecycle, over random histories. A tiny model plays the outside: it owes the machine the outcomes of
//! the deeds it asked for, delivers them late, badly or twice, and keeps its own account of what was promised.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    super::{
        time::{Moment, Now},
        words::{ActivitySource, EndReason, OnTimeout, Status},
    },
    *,
};

const IDLE: Duration = Duration::from_secs(100);
const ACTIVE: Duration = Duration::from_secs(60);

fn at(seconds: f64) -> Now {
    Now { moment: Moment::from_nanos((seconds * 1e9) as i64), epoch_offset: 1_795_000_000_000_000_000 }
}

fn policy(on_timeout: OnTimeout) -> Policy {
    Policy {
        idle_timeout: Some(IDLE),
        paused_timeout: None,
        heartbeat_timeout: None,
        active_timeout: ACTIVE,
        on_timeout,
    }
}

/// A sandbox that runs since second 0.
fn running(on_timeout: OnTimeout) -> Lifecycle {
    let (mut life, _) = Lifecycle::create(policy(on_timeout), ACTIVE, at(0.0));
    assert_eq!(life.apply(Event::Recorded(1), at(0.0)).unwrap().deed, Some(Deed::Start));
    assert_eq!(life.apply(Event::Started, at(0.0)).unwrap().persist, Persist::Through);
    life
}

#[test]
fn an_end_is_recorded_then_done_then_forgotten() {
    let mut life = running(OnTimeout::Deactivate);
    let effects = life.apply(Event::TimerFired, at(100.0)).unwrap();
    assert_eq!((effects.persist, effects.deed), (Persist::Through, None));
    assert_eq!(effects.ended.unwrap().reason, EndReason::Idle);
    assert_eq!(life.status(), Status::Terminating);
    let stale = life.apply(Event::Recorded(life.revision() - 1), at(100.1)).unwrap();
    assert_eq!(stale, Effects::NONE, "an older write was taken for the intent");
    assert_eq!(life.apply(Event::Recorded(life.revision()), at(100.1)).unwrap(), Effects::deed(Deed::Remove));
    assert_eq!(life.apply(Event::RemoveFailed(Duration::from_secs(1)), at(100.2)).unwrap(), Effects::NONE);
    assert_eq!(life.attempts(), 1);
    assert_eq!(life.next_action(), Some((at(101.2).moment, Action::Retry)));
    assert_eq!(life.apply(Event::TimerFired, at(101.2)).unwrap(), Effects::deed(Deed::Remove));
    assert_eq!(life.apply(Event::EngineBack, at(101.2)).unwrap(), Effects::NONE, "it is being tried");
    life.apply(Event::RemoveFailed(Duration::from_secs(60)), at(101.25)).unwrap();
    assert_eq!(life.apply(Event::EngineBack, at(101.3)).unwrap(), Effects::deed(Deed::Remove), "no need to wait");
    assert_eq!(life.apply(Event::Removed, at(101.3)).unwrap(), Effects::deed(Deed::Bury));
    assert!(!life.is_gone());
    life.apply(Event::Buried, at(101.4)).unwrap();
    assert_eq!(life.status(), Status::Terminated);
    assert_eq!(life.next_action(), None);
}

#[test]
fn an_end_waits_for_a_start_that_is_under_way() {
    let (mut life, _) = Lifecycle::create(policy(OnTimeout::Deactivate), ACTIVE, at(0.0));
    life.apply(Event::Recorded(1), at(0.0)).unwrap();
    let effects = life.apply(Event::Terminate(EndReason::Requested), at(1.0)).unwrap();
    assert_eq!(effects.deed, Some(Deed::CancelStart));
    assert_eq!(life.apply(Event::Recorded(life.revision()), at(1.1)).unwrap(), Effects::NONE);
    assert_eq!(life.apply(Event::Started, at(2.0)).unwrap(), Effects::deed(Deed::Remove));
}

#[test]
fn a_ping_at_the_deadline_is_handled_wholly_before_or_wholly_after_the_decision() {
    let mut before = running(OnTimeout::Deactivate);
    before.apply(Event::Activity(ActivitySource::Ping), at(100.0)).unwrap();
    assert_eq!(before.apply(Event::TimerFired, at(100.0)).unwrap(), Effects::NONE);

    let mut after = running(OnTimeout::Deactivate);
    after.apply(Event::TimerFired, at(100.0)).unwrap();
    let refused = after.apply(Event::Activity(ActivitySource::Ping), at(100.0));
    assert_eq!(refused, Err(Denied::Terminating { reason: EndReason::Idle }));
}

#[test]
fn a_passed_active_timeout_alone_ends_nothing_unless_the_rule_says_so() {
    let mut deactivate = running(OnTimeout::Deactivate);
    deactivate.apply(Event::Activity(ActivitySource::Ping), at(90.0)).unwrap();
    assert_eq!(deactivate.apply(Event::TimerFired, at(99.0)).unwrap(), Effects::NONE);
    assert!(!deactivate.is_active(at(99.0).moment));
    deactivate.apply(Event::KeepAlive(ACTIVE), at(99.0)).unwrap();
    assert!(deactivate.is_active(at(99.0).moment));

    let mut terminate = running(OnTimeout::Terminate);
    let ended = terminate.apply(Event::TimerFired, at(60.0)).unwrap().ended.unwrap();
    assert_eq!((ended.reason, ended.lateness()), (EndReason::Expired, Some(Duration::ZERO)));

    let mut pause = running(OnTimeout::Pause);
    assert_eq!(pause.apply(Event::TimerFired, at(60.0)).unwrap(), Effects::deed(Deed::Pause));
    pause.apply(Event::PauseFailed(Duration::from_secs(5)), at(61.0)).unwrap();
    assert_eq!(pause.next_action(), Some((at(66.0).moment, Action::Pause)));
    pause.apply(Event::TimerFired, at(66.0)).unwrap();
    pause.apply(Event::Paused, at(67.0)).unwrap();
    assert_eq!((pause.status(), pause.next_action()), (Status::Paused, None));
}

#[test]
fn the_idle_clock_of_a_paused_sandbox_stands_still() {
    let mut life = running(OnTimeout::Deactivate);
    life.apply(Event::Pause, at(10.0)).unwrap();
    life.apply(Event::Paused, at(10.5)).unwrap();
    assert_eq!(life.apply(Event::TimerFired, at(1e6)).unwrap(), Effects::NONE);
    life.apply(Event::Resume, at(1e6)).unwrap();
    life.apply(Event::Resumed, at(1e6 + 1.0)).unwrap();
    assert_eq!(life.idle_deadline(), Some(at(1e6 + 1.0).moment.plus(IDLE)));
    assert!(life.is_active(at(1e6 + 2.0).moment), "a resume brings a whole active timeout");
}

#[test]
fn nothing_ends_before_the_restart_grace_is_over() {
    let restored = Restored {
        phase: Revived::Running,
        policy: policy(OnTimeout::Terminate),
        last_activity: at(-5000.0).moment,
        expires_at: at(-4000.0).moment,
        idle_slack: Duration::from_secs(1),
        not_before: at(60.0).moment,
    };
    let (mut life, effects) = Lifecycle::restore(restored, at(0.0));
    assert_eq!(effects, Effects::NONE);
    assert_eq!(life.apply(Event::TimerFired, at(59.9)).unwrap(), Effects::NONE);
    assert_eq!(life.terminates_at(), Some(at(60.0).moment));
    assert!(life.apply(Event::TimerFired, at(60.0)).unwrap().ended.is_some());
}

#[test]
fn a_missed_heartbeat_fails_only_a_sandbox_that_owes_one() {
    let policy = Policy { heartbeat_timeout: Some(Duration::from_secs(5)), ..policy(OnTimeout::Deactivate) };
    let (mut life, _) = Lifecycle::create(policy, ACTIVE, at(0.0));
    life.apply(Event::Recorded(1), at(0.0)).unwrap();
    life.apply(Event::Started, at(10.0)).unwrap();
    life.apply(Event::Heartbeat, at(14.0)).unwrap();
    assert_eq!(life.apply(Event::TimerFired, at(18.0)).unwrap(), Effects::NONE);
    let ended = life.apply(Event::TimerFired, at(19.0)).unwrap().ended.unwrap();
    assert_eq!((ended.reason, life.status()), (EndReason::Unresponsive, Status::Failed));
}

// Random histories.

/// What the outside does next.
#[derive(Clone, Debug)]
enum Turn {
    /// Somebody asks, or the engine tells, out of the blue.
    Happens(Event),
    /// The oldest outcome that is owed is delivered; `well`: as a success.
    Delivers { well: bool },
    /// Time passes, in milliseconds, and the timer fires if it is armed for then.
    Passes(u32),
    /// Like a record written again: what was delivered last comes once more.
    Repeats,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let event = prop_oneof![
        6 => Just(Event::Activity(ActivitySource::Ping)),
        1 => (1_u64..200).prop_map(|seconds| Event::KeepAlive(Duration::from_secs(seconds))),
        1 => Just(Event::Reuse(None)),
        2 => Just(Event::Pause),
        2 => Just(Event::Resume),
        1 => Just(Event::Terminate(EndReason::Requested)),
        1 => Just(Event::ContainerExited { code: Some(0), oom_killed: false }),
        1 => Just(Event::ContainerVanished),
        1 => Just(Event::ContainerPaused),
        1 => Just(Event::ContainerUnpaused),
        1 => Just(Event::TimerFired),
        1 => Just(Event::EngineBack),
    ];
    let turn = prop_oneof![
        4 => event.prop_map(Turn::Happens),
        5 => any::<bool>().prop_map(|well| Turn::Delivers { well }),
        4 => (1_u32..70_000).prop_map(Turn::Passes),
        1 => Just(Turn::Repeats),
    ];
    proptest::collection::vec(turn, 1..80)
}

/// Plays the outside of one machine.
struct Model {
    life: Lifecycle,
    now: Now,
    owed: std::collections::VecDeque<Owed>,
    delivered: Option<Event>,
    /// The last use that was acknowledged: the promise.
    promised_from: Moment,
    removed: bool,
    intent_recorded: bool,
}

#[derive(Clone, Copy, Debug)]
enum Owed {
    Deed(Deed),
    Record(u64),
}

impl Model {
    fn new(on_timeout: OnTimeout) -> Self {
        let now = at(0.0);
        let (life, effects) = Lifecycle::create(policy(on_timeout), ACTIVE, now);
        let mut model = Self {
            life,
            now,
            owed: Default::default(),
            delivered: None,
            promised_from: now.moment,
            removed: false,
            intent_recorded: false,
        };
        model.take(effects);
        model
    }

    fn take(&mut self, effects: Effects) {
        if effects.persist == Persist::Through {
            self.owed.push_back(Owed::Record(self.life.revision()));
        }
        match effects.deed {
            Some(Deed::CancelStart) | None => {}
            Some(deed) => {
                if deed == Deed::Remove {
                    assert!(self.intent_recorded, "a container was removed before the intent was recorded");
                }
                if deed == Deed::Bury {
                    assert!(self.removed, "a record was forgotten before the container was gone");
                }
                self.owed.push_back(Owed::Deed(deed));
            }
        }
    }

    fn step(&mut self, event: Event) {
        let before = self.life;
        match self.life.apply(event, self.now) {
            Err(_) => assert_eq!(self.life, before, "a refused event changed the state"),
            Ok(effects) => {
                let used = matches!(event, Event::Activity(_) | Event::KeepAlive(_) | Event::Reuse(_));
                if used || (before.status() != Status::Running && self.life.status() == Status::Running) {
                    self.promised_from = self.now.moment;
                }
                if let Some(end) = effects.ended {
                    self.check_end(&before, &end);
                }
                self.take(effects);
            }
        }
        assert!(legal(before.status(), self.life.status()), "{} became {}", before.status(), self.life.status());
    }

    fn check_end(&self, before: &Lifecycle, end: &End) {
        if end.reason == EndReason::Idle {
            assert!(self.now.moment >= self.promised_from.plus(IDLE), "ended early");
            assert_eq!(before.status(), Status::Running, "the clock of a paused sandbox ran");
        }
        if end.reason == EndReason::Expired {
            assert!(self.now.moment >= before.expires_at());
        }
    }

    fn deliver(&mut self, well: bool) {
        let Some(owed) = self.owed.pop_front() else { return };
        let soon = Duration::from_secs(2);
        let event = match owed {
            Owed::Record(revision) => {
                self.intent_recorded |= !self.life.is_alive() && revision == self.life.revision();
                Event::Recorded(revision)
            }
            Owed::Deed(Deed::Start) if well => Event::Started,
            Owed::Deed(Deed::Start) => Event::StartFailed,
            Owed::Deed(Deed::Pause) if well => Event::Paused,
            Owed::Deed(Deed::Pause) => Event::PauseFailed(soon),
            Owed::Deed(Deed::Resume) if well => Event::Resumed,
            Owed::Deed(Deed::Resume) => Event::ResumeFailed,
            Owed::Deed(Deed::Remove) if well => {
                self.removed = true;
                Event::Removed
            }
            Owed::Deed(Deed::Remove) => Event::RemoveFailed(soon),
            Owed::Deed(Deed::Bury) => Event::Buried,
            Owed::Deed(Deed::Resolve | Deed::CancelStart) => return,
        };
        self.delivered = Some(event);
        self.step(event);
    }

    fn pass(&mut self, millis: u32) {
        let until = self.now.moment.plus(Duration::from_millis(millis.into()));
        // The timer fires at each of its moments on the way, as the actor's would.
        while let Some((wake, _)) = self.life.next_action().filter(|(wake, _)| *wake <= until) {
            self.now.moment = self.now.moment.max(wake);
            let before = self.life;
            self.step(Event::TimerFired);
            assert_ne!(self.life, before, "the timer would fire for ever");
        }
        self.now.moment = until;
    }

    fn play(&mut self, turn: &Turn) {
        match turn {
            Turn::Happens(event) => self.step(*event),
            Turn::Delivers { well } => self.deliver(*well),
            Turn::Passes(millis) => self.pass(*millis),
            Turn::Repeats => {
                // Outcomes of deeds come once; a write may be reported again.
                if let Some(event @ Event::Recorded(_)) = self.delivered {
                    self.step(event);
                }
            }
        }
    }
}

/// The transitions of section 2 of the design; a status may always stay.
fn legal(from: Status, to: Status) -> bool {
    use Status::{Failed, Paused, Pending, Running, Succeeded, Terminated, Terminating};
    from == to
        || matches!(
            (from, to),
            (Pending, Running | Paused | Failed | Terminating)
                | (Running, Paused | Failed | Succeeded | Terminating)
                | (Paused, Running | Failed | Succeeded | Terminating)
                | (Terminating, Terminated)
        )
}

fn rules() -> impl Strategy<Value = OnTimeout> {
    prop_oneof![Just(OnTimeout::Deactivate), Just(OnTimeout::Terminate), Just(OnTimeout::Pause)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_acknowledged_ping_is_never_followed_by_an_idle_end_before_its_time(turns in turns(), rule in rules()) {
        let mut model = Model::new(rule);
        for turn in &turns {
            model.play(turn);
        }
    }

    #[test]
    fn every_unused_sandbox_that_is_not_paused_ends_and_is_forgotten(turns in turns(), rule in rules()) {
        let mut model = Model::new(rule);
        for turn in &turns {
            model.play(turn);
        }
        // From here on everything works and nobody uses it: what is paused is thawed, the rest ends by itself.
        for _ in 0..40 {
            while !model.owed.is_empty() {
                model.deliver(true);
            }
            model.pass(70_000);
            if model.life.status() == Status::Paused && rule == OnTimeout::Pause {
                return Ok(());
            }
            let _ = model.life.apply(Event::Resume, model.now).map(|effects| model.take(effects));
        }
        prop_assert!(model.life.is_gone(), "stuck: {:?}", model.life);
    }
}
