//! Crashes at every single point: each scenario is played once without a crash, which counts the failure points on its
//! way, then with a crash at each of them, and then with a second crash at each point of the restart.

use std::time::Duration;

use sandglass::{
    domain::{EndReason, OnTimeout, Status},
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
    supervisor::Supervisor,
};

use super::{
    bench::id,
    client::{Ask, Client, Told},
    life::reason_of,
    stage::Stage,
    verdict::{SETTLED, verify},
};

const NAME: &str = "one";
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a client that was cut off retries, once a second.
const TRIES: usize = 60;

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(Ask),
    /// A create that fails.
    Fails(Ask),
    /// Seconds.
    Wait(u64),
    /// Milliseconds, for what happens between two flushes.
    Moment(u64),
    /// A clean stop. The next supervisor goes on with the script.
    Stop,
    /// The next this many passages of the point fail.
    Fail(Point, When, usize),
}

use Step::{Ask as Asks, Fail, Fails, Moment, Stop, Wait};

const fn creates(idle: u64) -> Ask {
    Ask::Create { idle, active: 1800, on_timeout: OnTimeout::Deactivate }
}

const fn create(idle: u64) -> Step {
    Asks(creates(idle))
}

/// The result: the sandbox's status, and the reason of its end.
type End = (Status, Option<EndReason>);

struct Play {
    /// How many points each supervisor passed before its crash, or before its script was over.
    passed: Vec<usize>,
    end: End,
}

/// Plays `script`; the first supervisors crash at the points that `crashes` tells.
fn play(script: &[Step], crashes: &[usize]) -> Play {
    let stage = Stage::new(7);
    let (mut passed, mut fuses, mut next) = (Vec::new(), crashes.iter().copied(), 0);
    loop {
        let end = stage.live(fuses.next(), async |supervisor| {
            supervisor.begin().await.expect("the lease is free");
            let first = next;
            while next < script.len() {
                if matches!(script[next], Stop) {
                    assert_eq!(supervisor.shutdown(PATIENCE).await, 0, "everything is written");
                    next += 1;
                    return None;
                }
                step(&stage, &supervisor, script[next], next == first && first > 0).await;
                next += 1;
            }
            let points = stage.fuse.disarm();
            stage.engine.heal_all();
            tokio::time::sleep(SETTLED).await;
            verify(&stage, &supervisor).await;
            let sandbox = supervisor.get(&id(NAME)).await.expect("readable");
            Some((points, (sandbox.status(), reason_of(&sandbox))))
        });
        match end {
            Some(None) => {
                passed.push(stage.fuse.passed());
                let now = stage.clock.now();
                stage.model().stopped(now);
            }
            Some(Some((points, end))) => {
                passed.push(points);
                stage.model().must_be_clean(|| format!("{script:?} with crashes at {crashes:?}"));
                return Play { passed, end };
            }
            None => {
                passed.push(stage.fuse.passed());
                let now = stage.clock.now();
                stage.model().crashed(now);
                stage.idle(3_000_000_000);
            }
        }
    }
}

async fn step(stage: &Stage, supervisor: &Supervisor, step: Step, again: bool) {
    match step {
        Wait(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        Moment(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        Stop => unreachable!("the supervisor that stops runs no further step"),
        Fail(point, when, times) => {
            stage.engine.fail_next(point, when, times, RuntimeError::Failed("on purpose".into()));
        }
        Fails(ask) => {
            let told = Client { stage, supervisor, name: NAME }.ask(ask, PATIENCE).await;
            if told == Told::Yes {
                let now = stage.clock.now();
                stage.model().violated(now, &format!("{ask:?} succeeded"));
            }
        }
        Asks(ask) => {
            let client = Client { stage, supervisor, name: NAME };
            for _ in 0..TRIES {
                let told = client.ask(ask, PATIENCE).await;
                let create = matches!(ask, Ask::Create { .. });
                // It succeeds, or the first try did, or it fails as it should.
                if told == Told::Yes || (again && !create) || (told == Told::No && !again) {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let now = stage.clock.now();
            stage.model().violated(now, &format!("{ask:?} never got an answer"));
        }
    }
}

/// Plays a scenario without a crash, with one at each point, and with two at each pair of points.
fn at_every_point(script: &[Step], expected: End) {
    let calm = play(script, &[]);
    assert_eq!(calm.end, expected, "without a crash");
    let (mut plays, points) = (1, calm.passed[0]);
    for first in 1..=points {
        let once = play(script, &[first]);
        assert_eq!(once.end, expected, "{script:?} with a crash at point {first}");
        let points = once.passed[1];
        for second in 1..=points {
            let twice = play(script, &[first, second]);
            assert_eq!(twice.end, expected, "{script:?} with crashes at points {first} and {second}");
            plays += 1;
        }
        plays += 1;
    }
    println!("{plays} plays of {script:?}");
}

const LIVES: End = (Status::Running, None);

#[test]
fn a_create_that_a_crash_cuts_off_succeeds_when_it_is_asked_for_again() {
    at_every_point(&[create(600), Wait(3)], LIVES);
}

#[test]
fn an_acknowledged_ping_outlives_a_crash() {
    at_every_point(&[create(600), Wait(5), Asks(Ask::Ping), Wait(2)], LIVES);
}

#[test]
fn an_acknowledged_ping_outlives_a_crash_and_the_clean_stop_that_follows() {
    let pings = [create(600), Wait(5), Asks(Ask::Ping), Moment(300), Asks(Ask::Ping), Wait(1)];
    at_every_point(&[&pings[..], &[Stop, Wait(2)]].concat(), LIVES);
}

#[test]
fn an_acknowledged_keep_alive_outlives_a_crash() {
    at_every_point(&[create(600), Wait(2), Asks(Ask::KeepAlive(3600)), Wait(2)], LIVES);
}

#[test]
fn an_acknowledged_hold_outlives_a_crash() {
    at_every_point(&[create(3), Asks(Ask::Hold { number: 0, ttl: 120 }), Wait(2)], LIVES);
}

#[test]
fn a_hold_that_runs_out_ends_as_it_was_to_also_after_a_crash() {
    let end = (Status::Terminated, Some(EndReason::Idle));
    at_every_point(&[create(2), Asks(Ask::Hold { number: 0, ttl: 3 }), Wait(6)], end);
}

#[test]
fn a_release_that_a_crash_cuts_off_is_one_in_the_end() {
    let end = (Status::Terminated, Some(EndReason::Idle));
    at_every_point(&[create(2), Asks(Ask::Hold { number: 0, ttl: 1000 }), Asks(Ask::Release(0)), Wait(3)], end);
}

#[test]
fn a_command_that_was_begun_holds_its_sandbox_through_a_crash() {
    at_every_point(&[create(3), Asks(Ask::Command { number: 0, longest: 120 }), Wait(2)], LIVES);
}

#[test]
fn the_end_of_a_command_that_a_crash_cuts_off_is_known_in_the_end() {
    let end = (Status::Terminated, Some(EndReason::Idle));
    let begins = Asks(Ask::Command { number: 0, longest: 1000 });
    at_every_point(&[create(2), begins, Asks(Ask::CommandEnds(0)), Wait(3)], end);
}

#[test]
fn a_pause_that_a_crash_cuts_off_is_paused_in_the_end() {
    at_every_point(&[create(600), Asks(Ask::Pause), Wait(3)], (Status::Paused, None));
}

#[test]
fn a_resume_that_a_crash_cuts_off_runs_in_the_end() {
    at_every_point(&[create(600), Asks(Ask::Pause), Asks(Ask::Resume), Wait(3)], LIVES);
}

#[test]
fn a_crash_at_any_point_of_a_connect() {
    at_every_point(&[create(600), Wait(2), Asks(Ask::Connect(3600)), Wait(2)], LIVES);
    at_every_point(&[create(600), Asks(Ask::Pause), Asks(Ask::Connect(3600)), Wait(3)], LIVES);
}

#[test]
fn a_crash_at_any_point_of_a_timeout_that_is_set() {
    at_every_point(&[create(600), Wait(2), Asks(Ask::SetTimeout(3600)), Wait(2)], LIVES);
}

#[test]
fn a_termination_that_a_crash_cuts_off_is_driven_on() {
    let end = (Status::Terminated, Some(EndReason::Requested));
    at_every_point(&[create(600), Asks(Ask::Terminate(0)), Wait(3)], end);
}

#[test]
fn an_idle_end_that_a_crash_cuts_off_is_driven_on() {
    at_every_point(&[create(3), Wait(5)], (Status::Terminated, Some(EndReason::Idle)));
}

#[test]
fn a_removal_that_fails_is_driven_on_by_whoever_is_there() {
    let end = (Status::Terminated, Some(EndReason::Requested));
    let fails = Fail(Point::Remove, When::Before, 2);
    at_every_point(&[create(600), fails, Asks(Ask::Terminate(0)), Wait(4)], end);
}

#[test]
fn a_start_that_fails_leaves_nothing_behind_whatever_is_cut_off() {
    // Not at its readiness: what runs when a new supervisor looks is adopted.
    let end = (Status::Failed, Some(EndReason::StartFailed));
    at_every_point(&[Fail(Point::Start, When::Before, 1000), Fails(creates(600)), Wait(3)], end);
}
