//! The laws of the lifecycle, over random histories. A tiny model plays the outside: it owes the machine the outcomes of
//! the deeds it asked for, delivers them late, badly or twice, and keeps its own account of what was promised.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    super::{
        time::{Moment, Now},
        words::{ActivitySource, EndReason, OnTimeout, Status},
    },
    laws::{ACTIVE, IDLE, at, details, policy},
    *,
};

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
        1 => Just(Event::CreatorGone),
        1 => Just(Event::ContainerExited { code: Some(0), oom_killed: false }),
        1 => Just(Event::ContainerVanished),
        1 => Just(Event::ContainerPaused),
        1 => Just(Event::ContainerUnpaused),
        1 => Just(Event::ContainerInterrupted),
        1 => Just(Event::ContainerRestarted),
        1 => Just(Event::TimerFired),
        1 => Just(Event::HeartbeatExcused),
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
    life: Sandbox,
    now: Now,
    owed: std::collections::VecDeque<Owed>,
    delivered: Option<Event>,
    /// The last use that was acknowledged, and the time since then in which nobody could use it: the promise.
    promised_from: Moment,
    /// Whether anything but its create has used it.
    used: bool,
    /// Since when nobody can use it: it is paused, or its container has stopped.
    still_since: Option<Moment>,

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
        let (life, effects) = Sandbox::create(details(), policy(on_timeout), ACTIVE, now);
        let mut model = Self {
            life,
            now,
            owed: Default::default(),
            delivered: None,
            promised_from: now.moment,
            used: false,
            still_since: None,
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
        let before = self.life.clone();
        match self.life.apply(event, self.now) {
            Err(_) => assert_eq!(self.life.state, before.state, "a refused event changed the state"),
            Ok(effects) => {
                let asked = matches!(event, Event::Activity(_) | Event::KeepAlive(_) | Event::Reuse(_));
                let resumed = before.status() == Status::Paused && effects.used.is_some();
                let began = before.is_starting() && !self.life.is_starting();
                assert_eq!(effects.used.is_some(), asked || resumed, "{event:?} was taken for use, or use was not");
                self.used |= asked || resumed;
                if asked || resumed || began {
                    self.promised_from = self.now.moment;
                }
                self.note_stillness();
                if effects.used.is_none() && !began {
                    assert!(self.life.expires_at() == before.expires_at(), "{event:?} moved the active timeout");
                }
                if let Some(end) = effects.ended {
                    self.check_end(&before, &end);
                    assert!(event != Event::CreatorGone || !self.used, "what was in use ended with its creator");
                }
                self.take(effects);
            }
        }
        assert!(legal(before.status(), self.life.status()), "{} became {}", before.status(), self.life.status());
    }

    /// The time in which nobody could use it belongs to the promise.
    fn note_stillness(&mut self) {
        let still = self.life.paused_since().is_some() || self.life.is_restarting();
        match (still, self.still_since) {
            (true, None) => self.still_since = Some(self.now.moment),
            (false, Some(since)) => {
                let still = self.now.moment.since(since.max(self.promised_from));
                self.promised_from = self.promised_from.plus(still);
                self.still_since = None;
            }
            _ => {}
        }
    }

    fn check_end(&self, before: &Sandbox, end: &End) {
        if end.reason == EndReason::Idle {
            assert!(self.now.moment >= self.promised_from.plus(IDLE), "ended early");
            assert_eq!(before.status(), Status::Running, "the clock of a paused sandbox ran");
            assert!(!before.is_restarting(), "it ended while its container was started again");
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
            Owed::Deed(Deed::Restart) if well => Event::Restarted,
            Owed::Deed(Deed::Restart) => Event::RestartFailed(soon),
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
            let before = self.life.clone();
            self.step(Event::TimerFired);
            assert_ne!(self.life.state, before.state, "the timer would fire for ever");
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
