//! The laws of the lifecycle, one by one. `histories` has those over random histories.

use std::time::Duration;

use super::{
    super::{
        id::SandboxId,
        time::{Moment, Now},
        words::{ActivitySource, EndReason, OnTimeout, Status},
    },
    *,
};

pub(super) const IDLE: Duration = Duration::from_secs(100);
pub(super) const ACTIVE: Duration = Duration::from_secs(60);
/// The effect of `on_timeout = "pause"`.
const PAUSES: Rule = Rule { clock: RuleClock::Active, after: ACTIVE, then: OnTimeout::Pause };

pub(super) fn at(seconds: f64) -> Now {
    Now { moment: Moment::from_nanos((seconds * 1e9) as i64), epoch_offset: 1_795_000_000_000_000_000 }
}

pub(super) fn rules(on_timeout: OnTimeout) -> Rules {
    Rules::new(ACTIVE, on_timeout).with(RuleClock::Idle, IDLE)
}

/// A sandbox of which only the name is known.
pub(super) fn details(rules: Rules) -> Details {
    Details::new(SandboxId::parse("one").unwrap(), "sandglass-one", 0.0, rules)
}

pub(super) fn started() -> Event {
    Event::Started(Box::new(there(80)))
}

pub(super) fn restarted() -> Event {
    Event::Restarted(Box::new(there(81)))
}

pub(super) fn refused(why: &str, retry_in: Duration) -> Event {
    Event::RestartFailed { failure: RestartFailure::Refused(why.into()), retry_in }
}

/// The addresses of a container.
pub(super) fn there(port: u16) -> Started {
    let at = format!("127.0.0.1:{port}");
    let base_url = Some(format!("http://{at}"));
    Started { container_id: "c1".to_owned(), ports: [("80".to_owned(), at)].into(), base_url }
}

/// A restored sandbox that was used long ago, at second 0 with a minute's grace.
pub(super) fn restored(phase: Revived) -> Restored {
    Restored {
        phase,
        last_activity: at(-5000.0).moment,
        expires_at: at(-4000.0).moment,
        idle_slack: Duration::from_secs(1),
        not_before: at(60.0).moment,
    }
}

/// A sandbox that runs since second 0.
pub(super) fn running(on_timeout: OnTimeout) -> Sandbox {
    let (mut life, _) = Sandbox::create(details(rules(on_timeout)), at(0.0));
    assert_eq!(life.apply(Event::Recorded(1), at(0.0)).unwrap().call, Some(EngineCall::Start));
    assert_eq!(life.apply(started(), at(0.0)).unwrap().persist, Persist::Through);
    life
}

#[test]
fn an_end_is_recorded_then_done_then_forgotten() {
    let mut life = running(OnTimeout::Deactivate);
    let effects = life.apply(Event::TimerFired, at(100.0)).unwrap();
    assert_eq!((effects.persist, effects.call), (Persist::Through, None));
    assert_eq!(effects.ended.unwrap().reason, EndReason::Idle);
    assert_eq!(life.status(), Status::Terminating);
    let stale = life.apply(Event::Recorded(life.revision() - 1), at(100.1)).unwrap();
    assert_eq!(stale, Effects::NONE, "an older write was taken for the intent");
    assert_eq!(life.apply(Event::Recorded(life.revision()), at(100.1)).unwrap().call, Some(EngineCall::Remove));
    assert_eq!(
        life.apply(Event::RemoveFailed { why: "busy".into(), retry_in: Duration::from_secs(1) }, at(100.2)).unwrap(),
        Effects::NONE.tell(Change::RemovalFailed)
    );
    assert_eq!(life.failures(), 1);
    assert_eq!(life.next_action(), Some((at(101.2).moment, Action::Retry)));
    assert_eq!(life.apply(Event::TimerFired, at(101.2)).unwrap().call, Some(EngineCall::Remove));
    assert_eq!(life.apply(Event::EngineBack, at(101.2)).unwrap(), Effects::NONE, "it is being tried");
    life.apply(Event::RemoveFailed { why: "busy".into(), retry_in: Duration::from_secs(60) }, at(101.25)).unwrap();
    assert_eq!(life.apply(Event::EngineBack, at(101.3)).unwrap().call, Some(EngineCall::Remove), "no need to wait");
    assert_eq!(life.apply(Event::Removed, at(101.3)).unwrap(), Effects::persist(Persist::Tombstone));
    assert!(!life.is_gone());
    life.apply(Event::Buried, at(101.4)).unwrap();
    assert_eq!(life.status(), Status::Terminated);
    assert_eq!(life.next_action(), None);
}

#[test]
fn an_end_waits_for_a_start_that_is_under_way() {
    let (mut life, _) = Sandbox::create(details(rules(OnTimeout::Deactivate)), at(0.0));
    life.apply(Event::Recorded(1), at(0.0)).unwrap();
    let effects = life.apply(Event::Terminate(EndReason::Requested), at(1.0)).unwrap();
    assert_eq!(effects.call, Some(EngineCall::CancelStart));
    assert_eq!(life.apply(Event::Recorded(life.revision()), at(1.1)).unwrap(), Effects::NONE);
    assert_eq!(life.apply(started(), at(2.0)).unwrap().call, Some(EngineCall::Remove));
}

#[test]
fn what_its_creator_never_heard_of_ends_unless_something_but_its_create_has_used_it() {
    let mut unused = running(OnTimeout::Deactivate);
    let effects = unused.apply(Event::CreatorGone, at(1.0)).unwrap();
    assert_eq!((effects.persist, effects.ended.unwrap().reason), (Persist::Through, EndReason::Requested));
    let refused = unused.apply(Event::Activity(ActivitySource::Ping), at(1.0));
    assert_eq!(refused, Err(Denied::Terminating { reason: EndReason::Requested }));

    for source in ActivitySource::ALL.iter().copied().filter(|source| *source != ActivitySource::Create) {
        let mut used = running(OnTimeout::Deactivate);
        used.apply(Event::Activity(source), at(1.0)).unwrap();
        assert_eq!(used.apply(Event::CreatorGone, at(1.0)).unwrap(), Effects::NONE, "{source}");
    }

    let (mut starting, _) = Sandbox::create(details(rules(OnTimeout::Deactivate)), at(0.0));
    starting.apply(Event::Recorded(1), at(0.0)).unwrap();
    assert_eq!(starting.apply(Event::CreatorGone, at(1.0)).unwrap(), Effects::NONE, "its start is not for nothing");
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
    assert_eq!(pause.apply(Event::TimerFired, at(60.0)).unwrap().call, Some(EngineCall::Pause));
    pause.apply(Event::PauseFailed { why: "busy".into(), retry_in: Duration::from_secs(5) }, at(61.0)).unwrap();
    assert_eq!(pause.next_action(), Some((at(66.0).moment, Action::Pause(PAUSES))));
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
    life.apply(Event::Resume(None), at(1e6)).unwrap();
    life.apply(Event::Resumed, at(1e6 + 1.0)).unwrap();
    assert_eq!(life.idle_deadline(), Some(at(1e6 + 1.0).moment.plus(IDLE)));
    assert!(life.is_active(at(1e6 + 2.0).moment), "a resume brings a whole active timeout");
}

#[test]
fn nothing_ends_before_the_restart_grace_is_over() {
    let restored = restored(Revived::Running);
    let (mut life, effects) = Sandbox::restore(details(rules(OnTimeout::Terminate)), restored, at(0.0));
    assert_eq!(effects, Effects::NONE.tell(Change::Appeared));
    assert_eq!(life.apply(Event::TimerFired, at(59.9)).unwrap(), Effects::NONE);
    assert_eq!(life.terminates_at(), Some(at(60.0).moment));
    assert!(life.apply(Event::TimerFired, at(60.0)).unwrap().ended.is_some());
}

#[test]
fn a_missed_heartbeat_fails_only_a_sandbox_that_owes_one() {
    let rules = rules(OnTimeout::Deactivate).with(RuleClock::Heartbeat, Duration::from_secs(5));
    let (mut life, _) = Sandbox::create(details(rules), at(0.0));
    life.apply(Event::Recorded(1), at(0.0)).unwrap();
    life.apply(started(), at(10.0)).unwrap();
    life.apply(Event::Heartbeat, at(14.0)).unwrap();
    assert_eq!(life.apply(Event::TimerFired, at(18.0)).unwrap(), Effects::NONE);
    let ended = life.apply(Event::TimerFired, at(19.0)).unwrap().ended.unwrap();
    assert_eq!((ended.reason, life.status()), (EndReason::Unresponsive, Status::Failed));
}

#[test]
fn a_pause_by_hand_moves_no_clock_and_is_no_use() {
    let mut life = running(OnTimeout::Terminate);
    let expires_at = life.expires_at();
    let activity = life.state.activity;
    life.apply(Event::ContainerPaused, at(10.0)).unwrap();
    let effects = life.apply(Event::ContainerUnpaused, at(30.0)).unwrap();
    assert_eq!((effects.persist, effects.used), (Persist::Through, None));
    assert_eq!(life.idle_deadline(), Some(at(20.0).moment.plus(IDLE)), "it stood still for 20 s, and goes on");
    assert_eq!((life.expires_at(), life.state.activity), (expires_at, activity));
    // A ping to a paused sandbox is use, so the whole timeout is left from then on.
    life.apply(Event::ContainerPaused, at(40.0)).unwrap();
    life.apply(Event::Activity(ActivitySource::Ping), at(50.0)).unwrap();
    life.apply(Event::ContainerUnpaused, at(55.0)).unwrap();
    assert_eq!(life.idle_deadline(), Some(at(55.0).moment.plus(IDLE)));
}

#[test]
fn what_the_rule_has_paused_and_somebody_thaws_by_hand_is_not_frozen_again_at_once() {
    let mut life = running(OnTimeout::Pause);
    life.apply(Event::TimerFired, at(60.0)).unwrap();
    life.apply(Event::Paused, at(61.0)).unwrap();
    life.apply(Event::ContainerUnpaused, at(70.0)).unwrap();
    assert!(!life.is_active(at(70.0).moment), "nobody has used it");
    assert_eq!(life.apply(Event::TimerFired, at(71.0)).unwrap(), Effects::NONE);
    life.apply(Event::Activity(ActivitySource::Ping), at(72.0)).unwrap();
    assert_eq!(life.next_action(), Some((at(70.0).moment.plus(ACTIVE), Action::Pause(PAUSES))));

    // A commit that the end of the active timeout falls into holds the rule back for its own time, and no longer.
    let mut life = running(OnTimeout::Pause);
    life.apply(Event::ContainerPaused, at(59.0)).unwrap();
    life.apply(Event::ContainerUnpaused, at(62.0)).unwrap();
    assert_eq!(life.apply(Event::TimerFired, at(62.0)).unwrap().call, Some(EngineCall::Pause));
}

#[test]
fn an_engine_that_was_away_ends_nothing() {
    let mut life = running(OnTimeout::Terminate);
    assert_eq!(life.apply(Event::ContainerInterrupted, at(50.0)).unwrap().call, Some(EngineCall::Restart));
    assert_eq!((life.status(), life.idle_deadline(), life.next_action()), (Status::Running, None, None));
    assert_eq!(life.apply(Event::ContainerInterrupted, at(51.0)).unwrap(), Effects::NONE, "it is being started again");
    life.apply(refused("no space left", Duration::from_secs(8)), at(52.0)).unwrap();
    assert_eq!((life.next_action(), life.terminates_at()), (Some((at(60.0).moment, Action::Retry)), None));
    assert_eq!(life.apply(Event::EngineBack, at(55.0)).unwrap().call, Some(EngineCall::Restart), "no need to wait");
    assert_eq!(life.apply(Event::TimerFired, at(1e4)).unwrap(), Effects::NONE, "nobody could use it");
    assert!(matches!(life.apply(Event::Pause, at(1e4)), Err(Denied::WrongState { .. })));
    assert_eq!(life.apply(restarted(), at(1e4)).unwrap().persist, Persist::Through);
    assert_eq!(life.idle_deadline(), Some(at(1e4 + 50.0).moment), "it has what it had left");
    assert_eq!(life.activity_by(ActivitySource::Resume).count, 0);
}

#[test]
fn what_was_paused_is_paused_when_its_engine_is_back() {
    let mut life = running(OnTimeout::Deactivate);
    life.apply(Event::ContainerPaused, at(10.0)).unwrap();
    assert_eq!(life.apply(Event::ContainerInterrupted, at(20.0)).unwrap().call, Some(EngineCall::Restart));
    assert_eq!((life.status(), life.paused_since()), (Status::Paused, Some(at(10.0).moment)));
    life.apply(restarted(), at(30.0)).unwrap();
    assert_eq!((life.status(), life.paused_since()), (Status::Paused, Some(at(10.0).moment)));
    life.apply(Event::Resume(None), at(40.0)).unwrap();
    life.apply(Event::Resumed, at(41.0)).unwrap();
    assert_eq!(life.status(), Status::Running);
}

#[test]
fn a_restart_that_is_given_up_and_one_that_nobody_wants_any_more_end() {
    let mut refused = running(OnTimeout::Deactivate);
    refused.apply(Event::ContainerInterrupted, at(5.0)).unwrap();
    let ended = refused
        .apply(Event::ContainerExited { code: None, oom_killed: false, last_output: None }, at(9.0))
        .unwrap()
        .ended;
    assert_eq!((ended.unwrap().reason, refused.status()), (EndReason::Exited, Status::Failed));

    let mut unwanted = running(OnTimeout::Deactivate);
    unwanted.apply(Event::ContainerInterrupted, at(5.0)).unwrap();
    unwanted.apply(Event::Terminate(EndReason::Requested), at(6.0)).unwrap();
    assert_eq!(unwanted.apply(restarted(), at(7.0)).unwrap(), Effects::NONE);
    assert_eq!(unwanted.status(), Status::Terminating);
}

#[test]
fn what_others_find_out_of_a_restart_under_way_is_left_to_it() {
    let mut life = running(OnTimeout::Deactivate);
    life.apply(Event::ContainerPaused, at(10.0)).unwrap();
    life.apply(Event::ContainerInterrupted, at(20.0)).unwrap();
    assert_eq!(
        life.apply(Event::ContainerRestarted(Default::default()), at(21.0)).unwrap(),
        Effects::NONE,
        "it is not frozen again yet"
    );
    assert_eq!((life.status(), life.is_restarting()), (Status::Paused, true));
    life.apply(refused("no space left", Duration::from_secs(60)), at(22.0)).unwrap();
    assert_eq!(
        life.apply(Event::ContainerRestarted(Default::default()), at(23.0)).unwrap().call,
        Some(EngineCall::Restart),
        "no need to wait"
    );
}

/// Fires the timer until watchers are told something; returns when and what.
fn told(life: &mut Sandbox) -> (Moment, Change) {
    loop {
        let now = Now { moment: life.next_wake().unwrap(), ..at(0.0) };
        if let Some(change) = life.apply(Event::TimerFired, now).unwrap().tell {
            return (now.moment, change);
        }
    }
}

#[test]
fn an_end_is_warned_of_once_and_a_ping_after_the_warning_allows_another() {
    let mut life = running(OnTimeout::Deactivate);
    assert_eq!(life.next_wake(), Some(at(100.0).moment), "nobody watches");
    life.apply(Event::Watched(Duration::from_secs(30)), at(0.0)).unwrap();
    assert_eq!(told(&mut life), (at(70.0).moment, Change::Expiring));
    life.apply(Event::Activity(ActivitySource::Ping), at(80.0)).unwrap();
    assert_eq!(told(&mut life), (at(150.0).moment, Change::Expiring));
    let end = (at(180.0).moment, Change::Status { from: Status::Running });
    assert_eq!(told(&mut life), end, "there is one warning of an end");
}

#[test]
fn an_end_that_is_near_when_it_is_first_seen_is_warned_of_when_half_of_the_time_is_over() {
    let mut life = running(OnTimeout::Deactivate);
    life.apply(Event::Watched(Duration::from_secs(30)), at(80.0)).unwrap();
    assert_eq!(told(&mut life), (at(90.0).moment, Change::Expiring));
}

#[test]
fn a_pause_that_fails_after_the_warning_brings_no_second_one() {
    let mut life = running(OnTimeout::Pause);
    life.apply(Event::Watched(Duration::from_secs(30)), at(0.0)).unwrap();
    assert_eq!(told(&mut life), (at(30.0).moment, Change::Expiring));
    life.apply(Event::Pause, at(31.0)).unwrap();
    life.apply(Event::PauseHeldBack { why: "down".into() }, at(32.0)).unwrap();
    assert_eq!(life.next_wake(), Some(at(60.0).moment));
}

#[test]
fn what_the_engine_says_stands_in_the_sandbox_and_is_told() {
    let mut life = running(OnTimeout::Deactivate);
    life.apply(Event::ContainerInterrupted, at(5.0)).unwrap();
    let failed = life.apply(refused("no space left", Duration::from_secs(1)), at(6.0)).unwrap();
    assert_eq!((failed.tell, life.details.engine_error.as_deref()), (Some(Change::Changed), Some("no space left")));
    let back = life.apply(restarted(), at(8.0)).unwrap();
    assert_eq!((back.tell, &life.details.engine_error), (Some(Change::Restarted), &None));
    assert_eq!((&*life.details.ports["80"], life.details.started_at), ("127.0.0.1:81", Some(at(8.0).wall())));
}

#[test]
fn ten_restarts_that_the_engine_refuses_in_a_row_are_its_last_word_and_its_absence_is_none() {
    let mut life = running(OnTimeout::Deactivate);
    life.apply(Event::ContainerInterrupted, at(5.0)).unwrap();
    let soon = Duration::from_secs(1);
    for attempt in 1..10 {
        assert!(life.apply(refused("no disk", soon), at(6.0)).unwrap().ended.is_none(), "attempt {attempt}");
        let away = RestartFailure::Away("no answer".into());
        life.apply(Event::RestartFailed { failure: away, retry_in: soon }, at(6.0)).unwrap();
        assert_eq!(life.failures(), attempt);
    }
    let end = life.apply(refused("no disk", soon), at(6.0)).unwrap().ended.unwrap();
    assert_eq!((end.reason, life.failures()), (EndReason::Exited, 0), "its removal has not failed yet");
    assert!(life.details.error_message.as_deref().unwrap().contains("no disk"));
}

#[test]
fn a_container_that_is_not_found_right_after_a_start_has_not_vanished() {
    let (mut life, _) = Sandbox::restore(details(rules(OnTimeout::Deactivate)), restored(Revived::Running), at(0.0));
    assert_eq!(life.apply(Event::ContainerMissing, at(59.0)).unwrap(), Effects::NONE);
    life.apply(Event::ContainerInterrupted, at(59.0)).unwrap();
    let missing = || Event::RestartFailed { failure: RestartFailure::Missing, retry_in: Duration::from_secs(2) };
    assert_eq!(life.apply(missing(), at(59.5)).unwrap().ended, None);
    assert_eq!(life.next_action(), Some((at(61.5).moment, Action::Retry)));
    assert_eq!(life.apply(missing(), at(62.0)).unwrap().ended.unwrap().reason, EndReason::Vanished);
}

#[test]
fn a_child_that_was_killed_for_memory_did_not_end_its_container() {
    for (code, reason) in [(Some(137), EndReason::OomKilled), (Some(0), EndReason::Exited), (None, EndReason::Exited)] {
        let mut life = running(OnTimeout::Deactivate);
        let exit = Event::ContainerExited { code, oom_killed: true, last_output: Some("the end".into()) };
        assert_eq!(life.apply(exit, at(1.0)).unwrap().ended.unwrap().reason, reason);
        assert_eq!(life.details.last_output.as_deref(), Some("the end"));
    }
}

#[test]
fn an_address_of_the_reference_systems_choice_holds_as_long_as_no_port_moves() {
    let own =
        Details { taken_over: true, base_url: Some("http://own".into()), ..details(rules(OnTimeout::Deactivate)) };
    let (mut life, _) = Sandbox::restore(own, restored(Revived::Running), at(0.0));
    let found = |port| Event::ContainerFound(Box::new(there(port)));
    assert_eq!(life.apply(found(80), at(1.0)).unwrap().persist, Persist::Through, "its ports were not known");
    assert_eq!(life.details.base_url.as_deref(), Some("http://own"));
    assert_eq!(life.apply(found(80), at(2.0)).unwrap(), Effects::NONE);
    assert_eq!(life.apply(found(81), at(3.0)).unwrap().tell, Some(Change::Changed));
    assert_eq!(life.details.base_url.as_deref(), Some("http://127.0.0.1:81"));
}

#[test]
fn what_a_crash_in_mid_create_has_left_begins_its_idle_timeout_when_it_is_found_also_frozen() {
    for state in [Container::Running, Container::Paused] {
        let (mut life, effects) =
            Sandbox::restore(details(rules(OnTimeout::Deactivate)), restored(Revived::Pending), at(70.0));
        assert_eq!(effects.call, Some(EngineCall::Resolve));
        let left = LeftOver { name: "left".to_owned(), state, at: there(80), problem: None };
        life.apply(Event::Resolved(Some(Box::new(left))), at(80.0)).unwrap();
        life.apply(Event::ContainerUnpaused, at(90.0)).unwrap();
        let still = if state == Container::Paused { 10.0 } else { 0.0 };
        assert_eq!(life.idle_deadline(), Some(at(180.0 + still).moment));
        assert_eq!((&*life.details.container_name, life.details.started_at), ("left", Some(at(80.0).wall())));
    }
}

#[test]
fn a_left_over_that_is_missing_stopped_or_not_ready_ends_with_the_reason_in_words() {
    let left = |state, problem: Option<&str>| {
        Some(Box::new(LeftOver { name: "left".to_owned(), state, at: there(80), problem: problem.map(Into::into) }))
    };
    for (found, words) in [
        (None, "before it had a container"),
        (left(Container::Stopped(Some(3)), None), "exit code Some(3)"),
        (left(Container::Running, Some("nobody listens")), "nobody listens"),
    ] {
        let (mut life, _) =
            Sandbox::restore(details(rules(OnTimeout::Deactivate)), restored(Revived::Pending), at(70.0));
        let end = life.apply(Event::Resolved(found), at(71.0)).unwrap().ended.unwrap();
        assert_eq!(end.reason, EndReason::StartFailed);
        assert!(life.details.error_message.as_deref().unwrap().contains(words), "{:?}", life.details.error_message);
    }
}

#[test]
fn the_store_is_told_anew_what_it_has_lost_but_not_of_what_is_gone() {
    let mut life = running(OnTimeout::Deactivate);
    let set = life.apply(Event::WallClockSet, at(1.0)).unwrap();
    assert_eq!((set.persist, set.tell), (Persist::Anew, Some(Change::Changed)));
    assert_eq!(life.apply(Event::StoreReverted, at(1.0)).unwrap(), Effects::persist(Persist::Anew));
    life.apply(Event::Terminate(EndReason::Requested), at(2.0)).unwrap();
    assert_eq!(life.apply(Event::RecordLost, at(2.0)).unwrap(), Effects::NONE, "it is being written just now");
    life.apply(Event::Recorded(life.revision()), at(3.0)).unwrap();
    assert_eq!(life.apply(Event::RecordLost, at(3.0)).unwrap(), Effects::persist(Persist::Anew));
    life.apply(Event::Removed, at(4.0)).unwrap();
    assert_eq!(life.apply(Event::Buried, at(5.0)).unwrap().tell, Some(Change::Removed));
    assert_eq!(life.apply(Event::WallClockSet, at(6.0)).unwrap(), Effects::NONE);
}
