//! The laws of the lifecycle over random histories. A model plays the outside world: it owes the machine the outcomes of
//! its calls, delivers them late, as failures or twice, and keeps its own account of the promises. A watcher knows only
//! what it was told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::{
    super::{
        time::{Moment, Now},
        words::{ActivitySource, EndReason, OnTimeout, Status},
    },
    laws::{IDLE, at, details, refused, restored, rules, there},
    *,
};

/// What the outside does next.
#[derive(Clone, Debug)]
enum Turn {
    /// A client's request or an event of the engine, at any time.
    Happens(Event),
    /// Delivers the oldest outstanding outcome, as a success if `well`. `what` chooses among outcomes of its kind.
    Delivers { well: bool, what: u16 },
    /// Time passes, in milliseconds, and the timer fires if it is armed for then.
    Passes(u32),
    /// Delivers the last outcome again, as when a record is written twice.
    Repeats,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let place = || (80_u16..83).prop_map(|port| Box::new(there(port)));
    let event = prop_oneof![
        6 => Just(Event::Activity(ActivitySource::Ping)),
        1 => (1_u64..200).prop_map(|seconds| Event::KeepAlive(Duration::from_secs(seconds))),
        1 => Just(Event::Reuse(None)),
        2 => (0_u8..3, 1_u64..150).prop_map(|(name, seconds)| {
            let (name, ttl) = (name.to_string().into(), Duration::from_secs(seconds));
            Event::Hold(Box::new(HoldRequest { name, ttl, reason: None }))
        }),
        1 => (0_u8..3).prop_map(|name| Event::Release(name.to_string().into())),
        1 => Just(Event::Heartbeat),
        2 => Just(Event::Pause),
        2 => proptest::option::of(1_u64..200)
            .prop_map(|seconds| Event::Resume(seconds.map(Duration::from_secs))),
        1 => Just(Event::Terminate(EndReason::Requested)),
        1 => Just(Event::CreatorGone),
        1 => exits(),
        1 => Just(Event::ContainerVanished),
        1 => Just(Event::ContainerMissing),
        1 => Just(Event::ContainerPaused),
        1 => Just(Event::ContainerUnpaused),
        1 => Just(Event::ContainerInterrupted),
        1 => place().prop_map(Event::ContainerRestarted),
        2 => place().prop_map(Event::ContainerFound),
        1 => Just(Event::Progress(Box::new(StartProgress::Starting))),
        1 => Just(Event::TimerFired),
        1 => Just(Event::HeartbeatExcused),
        1 => Just(Event::EngineBack),
        1 => prop_oneof![Just(Event::WallClockSet), Just(Event::StoreReverted), Just(Event::RecordLost)],
        2 => (0_u64..60).prop_map(|seconds| Event::Watched(Duration::from_secs(seconds))),
    ];
    let turn = prop_oneof![
        4 => event.prop_map(Turn::Happens),
        5 => any::<(bool, u16)>().prop_map(|(well, what)| Turn::Delivers { well, what }),
        4 => (1_u32..70_000).prop_map(Turn::Passes),
        1 => Just(Turn::Repeats),
    ];
    proptest::collection::vec(turn, 1..80)
}

fn exits() -> impl Strategy<Value = Event> {
    let code = prop_oneof![Just(None), Just(Some(0)), Just(Some(1)), Just(Some(137))];
    (code, any::<bool>(), proptest::option::of(Just("the end"))).prop_map(|(code, oom_killed, output)| {
        Event::ContainerExited { code, oom_killed, last_output: output.map(Into::into) }
    })
}

/// The visible state of a sandbox.
fn shown(life: &Sandbox) -> String {
    let times = (life.last_activity(), life.expires_at(), life.idle_deadline(), life.terminates_at());
    let errors = (&life.details.error_message, life.details.engine_error.as_ref().filter(|_| !life.is_gone()));
    let place = (&life.details.container_id, &life.details.ports, &life.details.base_url, life.details.started_at);
    let end = (life.end(), &life.details.last_output, &life.details.holds);
    format!("{:?} {times:?} {errors:?} {place:?} {end:?} {:?}", life.status(), life.last_activity_by())
}

/// A watcher, which knows only what it was told.
struct Watcher {
    shown: String,
    status: Status,
    warned_of: Option<Moment>,
    gone: bool,
}

impl Watcher {
    fn new(life: &Sandbox) -> Self {
        Self { shown: shown(life), status: life.status(), warned_of: None, gone: false }
    }

    fn hears(&mut self, effects: &Effects, life: &Sandbox, now: Now) {
        let Some(change) = &effects.tell else {
            assert_eq!(self.shown, shown(life), "something changed, and nothing was told");
            return;
        };
        assert!(!self.gone, "{change:?} was told of what is gone");
        match change {
            Change::Status { from } => assert_eq!(*from, self.status, "what it was is not what was told"),
            Change::Removed => self.gone = true,
            _ => assert_eq!(life.status(), self.status, "{change:?} hides another status"),
        }
        match change {
            Change::Status { from } => assert_ne!(*from, life.status()),
            Change::Removed => assert!(life.is_gone()),
            Change::Activity { source } => assert_eq!(effects.used, Some(*source)),
            Change::Moved | Change::Changed | Change::Restarted => assert_eq!(effects.used, None),
            Change::Progress(_) => assert!(life.is_starting(), "the start is over"),
            Change::RemovalFailed => assert!(life.failures() > 0),
            Change::Expiring => {
                let end = life.terminates_at().expect("an end is ahead");
                assert!(now.moment < end, "the warning came too late");
                assert_ne!(self.warned_of.replace(end), Some(end), "it was warned of twice");
            }
            Change::Appeared | Change::Forgotten => panic!("{change:?} in the midst of its life"),
        }
        self.status = life.status();
        self.shown = shown(life);
    }
}

/// Plays the outside world for one machine.
struct Model {
    life: Sandbox,
    now: Now,
    owed: std::collections::VecDeque<Owed>,
    delivered: Option<Event>,
    watcher: Watcher,
    /// The last use that was acknowledged, and the time since then in which nobody could use it: the promise.
    promised_from: Moment,
    /// The holds that were acknowledged and not released, and until when.
    held: BTreeMap<Box<str>, Moment>,
    /// Whether it was used after its create.
    used: bool,
    /// Since when clients cannot use it, because it is paused or its container has stopped.
    still_since: Option<Moment>,

    removed: bool,
    intent_recorded: bool,
}

#[derive(Clone, Copy, Debug)]
enum Owed {
    Call(EngineCall),
    Record(u64),
    Tombstone,
}

impl Model {
    /// A new sandbox, or one whose create a crash interrupted.
    fn new(on_timeout: OnTimeout, left_over: bool) -> Self {
        let now = at(0.0);
        let (life, effects) = if left_over {
            Sandbox::restore(details(rules(on_timeout)), restored(Revived::Pending), now)
        } else {
            Sandbox::create(details(rules(on_timeout)), now)
        };
        assert_eq!(effects.tell, Some(Change::Appeared));
        let mut model = Self {
            watcher: Watcher::new(&life),
            life,
            now,
            owed: Default::default(),
            delivered: None,
            promised_from: now.moment,
            held: BTreeMap::new(),
            used: false,
            still_since: None,
            removed: false,
            intent_recorded: false,
        };
        model.take(&effects);
        model
    }

    fn take(&mut self, effects: &Effects) {
        match effects.persist {
            Persist::Through => self.owed.push_back(Owed::Record(self.life.revision())),
            Persist::Tombstone => {
                assert!(self.removed, "a record was forgotten before the container was gone");
                self.owed.push_back(Owed::Tombstone);
            }
            Persist::No | Persist::Behind | Persist::Anew => {}
        }
        match effects.call {
            Some(EngineCall::CancelStart) | None => {}
            Some(call) => {
                let may_be_removed = call != EngineCall::Remove || self.intent_recorded;
                assert!(may_be_removed, "a container was removed before the intent was recorded");
                self.owed.push_back(Owed::Call(call));
            }
        }
    }

    fn step(&mut self, event: &Event) {
        let before = self.life.clone();
        match self.life.apply(event.clone(), self.now) {
            Err(_) => {
                assert_eq!(self.life.state, before.state, "a refused event changed the state");
                assert!(Arc::ptr_eq(&self.life.details, &before.details), "a refused event changed the details");
            }
            Ok(effects) => {
                self.watcher.hears(&effects, &self.life, self.now);
                match event {
                    Event::Hold(request) => {
                        _ = self.held.insert(request.name.clone(), self.now.moment.plus(request.ttl));
                    }
                    Event::Release(name) => _ = self.held.remove(name),
                    _ => {}
                }
                let held = matches!(event, Event::Hold(_) | Event::Release(_));
                let asked = held || matches!(event, Event::Activity(_) | Event::KeepAlive(_) | Event::Reuse(_));
                let resumed = before.status() == Status::Paused && effects.used.is_some();
                let began = before.is_starting() && !self.life.is_starting();
                assert_eq!(effects.used.is_some(), asked || resumed, "{event:?} was taken for use, or use was not");
                self.used |= asked || resumed;
                if asked || resumed || began {
                    self.promised_from = self.now.moment;
                }
                self.note_stillness();
                if effects.used.is_none() && !began {
                    let expected = before.expires_at().plus(self.stood_still(&before));
                    assert!(self.life.expires_at() == expected, "{event:?} moved the active timeout");
                }
                if let Some(end) = effects.ended {
                    self.check_end(&before, &end);
                    assert!(*event != Event::CreatorGone || !self.used, "what was in use ended with its creator");
                }
                self.take(&effects);
            }
        }
        assert!(legal(before.status(), self.life.status()), "{} became {}", before.status(), self.life.status());
    }

    /// The time in which clients could not use it is added to the promise.
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

    /// For how long the active timeout stood still in a pause that is over now.
    fn stood_still(&self, before: &Sandbox) -> Duration {
        let stands_still = before.rules().on_timeout() == OnTimeout::TerminateUnlessPaused;
        let is_over = self.life.is_alive() && self.life.paused_since().is_none();
        let since = before.paused_since().filter(|_| stands_still && is_over);
        since.map_or(Duration::ZERO, |since| self.now.moment.since(since))
    }

    fn check_end(&self, before: &Sandbox, end: &End) {
        if end.reason == EndReason::Idle {
            let promised_from = self.held.values().copied().fold(self.promised_from, Moment::max);
            assert!(self.now.moment >= promised_from.plus(IDLE), "ended early");
            assert_eq!(before.status(), Status::Running, "the clock of a paused sandbox ran");
            assert!(!before.is_restarting(), "it ended while its container was started again");
        }
        if end.reason == EndReason::Expired {
            assert!(self.now.moment >= before.expires_at());
        }
    }

    fn deliver(&mut self, well: bool, what: u16) {
        let Some(owed) = self.owed.pop_front() else { return };
        let retry_in = Duration::from_secs(2);
        let why = || format!("problem {}", what % 3).into();
        let place = || Box::new(there(80 + what % 3));
        let event = match owed {
            Owed::Record(revision) => {
                self.intent_recorded |= !self.life.is_alive() && revision == self.life.revision();
                Event::Recorded(revision)
            }
            Owed::Tombstone => Event::Buried,
            Owed::Call(EngineCall::Start) if well => Event::Started(place()),
            Owed::Call(EngineCall::Start) => Event::StartFailed { why: why() },
            Owed::Call(EngineCall::Resolve) if !well && what.is_multiple_of(2) => Event::ResolveFailed { retry_in },
            Owed::Call(EngineCall::Resolve) if !well && what.is_multiple_of(3) => Event::Resolved(None),
            Owed::Call(EngineCall::Resolve) => {
                let state = if well {
                    [Container::Running, Container::Paused][usize::from(what % 2)]
                } else {
                    Container::Stopped(Some(1))
                };
                let problem = (what % 5 == 4).then(|| "not ready".to_owned()).filter(|_| !well);
                Event::Resolved(Some(Box::new(LeftOver { name: "left".to_owned(), state, at: *place(), problem })))
            }
            Owed::Call(EngineCall::Pause) if well => Event::Paused,
            Owed::Call(EngineCall::Pause) if what.is_multiple_of(2) => Event::PauseHeldBack { why: why() },
            Owed::Call(EngineCall::Pause) => Event::PauseFailed { why: why(), retry_in },
            Owed::Call(EngineCall::Resume) if well => Event::Resumed,
            Owed::Call(EngineCall::Resume) => Event::ResumeFailed { why: why() },
            Owed::Call(EngineCall::Restart) if well => Event::Restarted(place()),
            Owed::Call(EngineCall::Restart) => match what % 4 {
                0 => Event::RestartFailed { failure: RestartFailure::Missing, retry_in },
                1 => Event::RestartFailed { failure: RestartFailure::Away(why()), retry_in },
                _ => refused("no space left", retry_in),
            },
            Owed::Call(EngineCall::Remove) if well => {
                self.removed = true;
                Event::Removed
            }
            Owed::Call(EngineCall::Remove) => Event::RemoveFailed { why: why(), retry_in },
            Owed::Call(EngineCall::CancelStart) => return,
        };
        self.step(&event);
        self.delivered = Some(event);
    }

    fn pass(&mut self, millis: u32) {
        let until = self.now.moment.plus(Duration::from_millis(millis.into()));
        // The timer fires at each of its moments on the way, as the actor's would.
        while let Some(wake) = self.life.next_wake().filter(|wake| *wake <= until) {
            self.now.moment = self.now.moment.max(wake);
            let before = self.life.clone();
            self.step(&Event::TimerFired);
            assert_ne!(self.life.state, before.state, "the timer would fire for ever");
        }
        self.now.moment = until;
    }

    fn play(&mut self, turn: &Turn) {
        match turn {
            Turn::Happens(event) => self.step(event),
            Turn::Delivers { well, what } => self.deliver(*well, *what),
            Turn::Passes(millis) => self.pass(*millis),
            Turn::Repeats => {
                // Outcomes of calls to the engine come once; a write may be reported again.
                if let Some(event @ Event::Recorded(_)) = self.delivered.clone() {
                    self.step(&event);
                }
            }
        }
    }
}

/// The transitions of [design: lifecycle](crate::design::lifecycle); a status may always stay.
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

fn effects() -> impl Strategy<Value = OnTimeout> {
    use OnTimeout::{Deactivate, Pause, Terminate, TerminateUnlessPaused};
    prop_oneof![Just(Deactivate), Just(Terminate), Just(TerminateUnlessPaused), Just(Pause)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_told_adds_up_and_an_acknowledged_ping_is_never_followed_by_an_idle_end_before_its_time(
        turns in turns(), rule in effects(), left_over in any::<bool>(),
    ) {
        let mut model = Model::new(rule, left_over);
        for turn in &turns {
            model.play(turn);
        }
    }

    #[test]
    fn every_unused_sandbox_that_is_not_paused_ends_and_is_forgotten(
        turns in turns(), rule in effects(), left_over in any::<bool>(),
    ) {
        let mut model = Model::new(rule, left_over);
        for turn in &turns {
            model.play(turn);
        }
        // From here on, every call succeeds and nobody uses it: a paused sandbox is resumed, any other ends by itself.
        for _ in 0..40 {
            while !model.owed.is_empty() {
                model.deliver(true, 0);
            }
            model.pass(70_000);
            if model.life.status() == Status::Paused && rule == OnTimeout::Pause {
                return Ok(());
            }
            model.step(&Event::Resume(None));
        }
        prop_assert!(model.life.is_gone(), "stuck: {:?}", model.life);
    }
}
