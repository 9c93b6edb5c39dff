//! The supervisor and its actors over the memory adapters, with paused time, to the millisecond.

use std::time::Duration;

use sandglass::{
    domain::{
        ActivitySource, EndReason, OnTimeout, Status,
        leaf::ImageRef,
        sandbox::{Container, RuleClock, Spelling},
    },
    ports::{
        runtime::{ContainerRef, Labels, Owner, RuntimeError},
        store::StoreError,
    },
    runtime::memory::{Point, When},
    sandboxes::{Create, Created, RequestError},
    store::memory,
};

use crate::support::bench::{Bench, id, idle};

const SECOND: Duration = Duration::from_secs(1);

fn failed() -> RuntimeError {
    RuntimeError::Failed("on purpose".into())
}

async fn status(bench: &Bench, name: &str) -> Status {
    bench.supervisor.get(&id(name)).await.expect("known").status()
}

async fn sleep(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[actix_web::test]
async fn an_acknowledged_ping_is_never_followed_by_an_idle_end_before_its_time() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("used", 3)).await;
    for _ in 0..10 {
        sleep(1.0).await;
        bench.supervisor.touch(&id("used"), ActivitySource::Ping).await.expect("alive");
    }
    sleep(2.998).await;
    assert_eq!(status(&bench, "used").await, Status::Running);
    sleep(0.01).await;
    let ended = bench.supervisor.get(&id("used")).await.expect("readable");
    assert_eq!(ended.status(), Status::Terminated);
    let end = ended.end().expect("an end");
    assert_eq!(end.reason, EndReason::Idle);
    assert!(end.lateness().expect("a deadline") <= Duration::from_millis(2));
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn an_unused_sandbox_ends_at_its_deadline() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("unused", 3)).await;
    sleep(2.99).await;
    assert_eq!(status(&bench, "unused").await, Status::Running);
    sleep(0.02).await;
    assert_eq!(status(&bench, "unused").await, Status::Terminated);
    assert!(bench.store.active_members().is_empty());
    assert_eq!(bench.store.tombstone_members().len(), 1);
}

#[actix_web::test]
async fn a_client_that_hangs_up_does_not_lose_its_ping() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("used", 3)).await;
    sleep(2.0).await;
    let (supervisor, name) = (bench.supervisor.clone(), id("used"));
    let mut ping = Box::pin(async move { supervisor.touch(&name, ActivitySource::Ping).await });
    // One poll sends the message; the client is gone before the answer.
    assert!(futures_util::poll!(&mut ping).is_pending());
    drop(ping);
    sleep(2.9).await;
    assert_eq!(status(&bench, "used").await, Status::Running);
}

#[actix_web::test]
async fn a_passed_active_timeout_deactivates_and_keep_alive_brings_back() {
    let bench = Bench::new(&[]).await;
    bench.create(Create { timeout: Some(5 * SECOND), ..idle("kept", 100) }).await;
    sleep(6.0).await;
    let inactive = bench.supervisor.touch(&id("kept"), ActivitySource::Ping).await.expect("still alive");
    let now = bench.supervisor.now().moment;
    assert!(!inactive.is_active(now));
    assert_eq!(inactive.status(), Status::Running);
    let active = bench.supervisor.keep_alive(&id("kept"), 10 * SECOND).await.expect("alive");
    assert!(active.is_active(now));
}

#[actix_web::test]
async fn a_passed_active_timeout_terminates_or_pauses_where_that_is_the_rule() {
    let bench = Bench::new(&[]).await;
    let rule = |name, on_timeout| Create { timeout: Some(5 * SECOND), on_timeout: Some(on_timeout), ..idle(name, 100) };
    bench.create(rule("terminates", OnTimeout::Terminate)).await;
    bench.create(rule("pauses", OnTimeout::Pause)).await;
    sleep(5.1).await;
    let ended = bench.supervisor.get(&id("terminates")).await.expect("readable");
    assert_eq!(ended.end().expect("an end").reason, EndReason::Expired);
    assert_eq!(status(&bench, "pauses").await, Status::Paused);
    assert_eq!(bench.runtime.state_of(&id("pauses")), Some(Container::Paused));
    // Its idle clock stands still.
    sleep(1000.0).await;
    assert_eq!(status(&bench, "pauses").await, Status::Paused);
    let resumed = bench.supervisor.resume(&id("pauses"), None).await.expect("thawed");
    assert_eq!(resumed.status(), Status::Running);
}

#[actix_web::test]
async fn a_pause_that_fails_is_an_answer_and_changes_nothing() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("frozen", 100)).await;
    bench.runtime.fail_next(Point::Pause, When::Before, 1, failed());
    assert!(matches!(bench.supervisor.pause(&id("frozen")).await, Err(RequestError::RuntimeFailed(_))));
    assert_eq!(status(&bench, "frozen").await, Status::Running);
    bench.supervisor.pause(&id("frozen")).await.expect("the second try works");
    assert!(matches!(bench.supervisor.pause(&id("frozen")).await, Err(RequestError::WrongState { .. })));
}

#[actix_web::test]
async fn a_removal_that_fails_is_tried_until_it_succeeds_and_visible_meanwhile() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("stubborn", 3)).await;
    bench.runtime.fail_next(Point::Remove, When::Before, 5, failed());
    sleep(4.0).await;
    let ending = bench.supervisor.get(&id("stubborn")).await.expect("readable");
    assert_eq!(ending.status(), Status::Terminating);
    assert!(ending.failures() >= 1);
    assert_eq!(ending.details.engine_error.as_deref(), Some("on purpose"));
    let refused = bench.supervisor.touch(&id("stubborn"), ActivitySource::Ping).await;
    assert!(matches!(refused, Err(RequestError::Terminating { reason: EndReason::Idle, .. })), "{refused:?}");
    sleep(60.0).await;
    assert_eq!(status(&bench, "stubborn").await, Status::Terminated);
    assert!(bench.runtime.is_empty());
    let gone = bench.supervisor.touch(&id("stubborn"), ActivitySource::Ping).await;
    assert!(matches!(gone, Err(RequestError::Gone(_))), "{gone:?}");
}

#[actix_web::test]
async fn nothing_is_removed_before_the_intent_is_stored() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("waits", 3)).await;
    bench.store.go_down();
    sleep(60.0).await;
    assert_eq!(status(&bench, "waits").await, Status::Terminating);
    assert_eq!(bench.runtime.len(), 1, "the deed came before the record");
    assert!(!bench.supervisor.health().store().is_up());
    bench.store.heal_all();
    sleep(10.0).await;
    assert_eq!(status(&bench, "waits").await, Status::Terminated);
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn a_create_that_cannot_be_recorded_starts_nothing() {
    let bench = Bench::new(&[]).await;
    bench.store.go_down();
    let refused = bench.try_create(idle("new", 3)).await;
    assert!(matches!(refused, Err(RequestError::StoreUnavailable(_))), "{refused:?}");
    // The engine is known to be down by now, so it is not even tried.
    let refused = bench.try_create(idle("newer", 3)).await;
    assert!(matches!(refused, Err(RequestError::StoreUnavailable(_))), "{refused:?}");
    bench.store.heal_all();
    sleep(10.0).await;
    assert_eq!(bench.runtime.count(Point::Create), 0);
    bench.create(idle("newer", 3)).await;
}

#[actix_web::test]
async fn a_create_on_an_engine_that_is_down_is_refused() {
    let bench = Bench::new(&[]).await;
    let down = RuntimeError::Unreachable("no socket".into());
    for point in [Point::Check, Point::Pull, Point::Inspect, Point::Stop, Point::Remove] {
        bench.runtime.fail_always(point, When::Before, down.clone());
    }
    sleep(6.0).await;
    let refused = bench.try_create(idle("new", 3)).await;
    assert!(matches!(refused, Err(RequestError::RuntimeUnavailable(_))), "{refused:?}");
    bench.runtime.heal_all();
    sleep(6.0).await;
    bench.create(idle("new", 3)).await;
}

#[actix_web::test]
async fn what_waited_for_an_engine_that_was_away_is_done_as_soon_as_it_is_back() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("due", 3)).await;
    let down = RuntimeError::Unreachable("no socket".into());
    for point in [Point::Check, Point::Inspect, Point::Stop, Point::Remove] {
        bench.runtime.fail_always(point, When::Before, down.clone());
    }
    // By now a removal that fails waits for half a minute at least.
    sleep(300.0).await;
    assert!(bench.supervisor.get(&id("due")).await.expect("known").failures() > 5);
    bench.runtime.heal_all();
    // The supervisor probes the engine once a second.
    sleep(1.5).await;
    assert!(bench.runtime.is_empty(), "it is removed");
}

#[actix_web::test]
async fn a_start_that_fails_leaves_a_tombstone_that_says_why_and_no_container() {
    let bench = Bench::new(&[]).await;
    bench.runtime.fail_next(Point::Ready, When::Before, 1, RuntimeError::Failed("no such luck".into()));
    let refused = bench.try_create(idle("fails", 3)).await;
    let Err(RequestError::StartFailed(sandbox)) = refused else { panic!("{refused:?}") };
    assert_eq!(sandbox.status(), Status::Failed);
    sleep(1.0).await;
    let tombstone = bench.supervisor.get(&id("fails")).await.expect("readable");
    assert!(tombstone.is_gone());
    assert_eq!(tombstone.end().expect("an end").reason, EndReason::StartFailed);
    assert_eq!(tombstone.details.error_message.as_deref(), Some("no such luck"));
    assert!(bench.runtime.is_empty(), "what the start had made was left behind");
    bench.create(idle("fails", 3)).await;
}

#[actix_web::test]
async fn creates_with_the_same_id_share_one_container() {
    let bench = Bench::new(&[]).await;
    bench.runtime.set_latency(Duration::from_millis(50));
    let creates = (0..20).map(|_| bench.try_create(idle("one", 30)));
    let outcomes = futures_util::future::join_all(creates).await;
    let new = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Created::New(_)))).count();
    let reused = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Created::Reused(_)))).count();
    assert_eq!((new, reused), (1, 19));
    assert_eq!(bench.runtime.count(Point::Create), 1);
    let other =
        bench.try_create(Create { image: ImageRef::try_from("other:1".to_owned()).ok(), ..idle("one", 30) }).await;
    assert!(matches!(other, Err(RequestError::Conflict(_))), "{other:?}");
}

#[actix_web::test]
async fn a_sandbox_can_be_terminated_while_it_starts_and_leaves_nothing() {
    let bench = Bench::new(&[]).await;
    bench.runtime.set_latency_of(Point::Ready, 30 * SECOND);
    let Created::Pending(_) = bench.supervisor.create(idle("young", 30), false).await.expect("recorded") else {
        panic!("not pending")
    };
    sleep(1.0).await;
    let gone = bench.supervisor.terminate(&id("young"), 60 * SECOND).await.expect("terminated");
    assert_eq!((gone.is_gone(), gone.end().expect("an end").reason), (true, EndReason::Requested));
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn a_waiting_delete_answers_when_the_id_is_free_again() {
    let bench = Bench::new(&[]).await;
    for _ in 0..20 {
        bench.create(idle("again", 30)).await;
        let gone = bench.supervisor.terminate(&id("again"), 60 * SECOND).await.expect("terminated");
        assert!(gone.is_gone());
    }
}

#[actix_web::test]
async fn pings_cost_one_record_per_sandbox_and_flush() {
    let bench = Bench::new(&[]).await;
    for index in 0..10 {
        bench.create(idle(&format!("s{index}"), 1000)).await;
    }
    sleep(2.0).await;
    let (before, generation) = (bench.store.written(), bench.supervisor.shared().journal.generation());
    for _ in 0..500 {
        for index in 0..10 {
            bench.supervisor.touch(&id(&format!("s{index}")), ActivitySource::Batch).await.expect("alive");
        }
        sleep(0.01).await;
    }
    sleep(2.0).await;
    let flushes = bench.supervisor.shared().journal.generation() - generation;
    let after = bench.store.written();
    let (records, commits) = (after.writes - before.writes, after.commits - before.commits);
    assert!(commits <= flushes, "{commits} commits in {flushes} flushes");
    assert!(records <= flushes * 10, "{records} records in {flushes} flushes");
    assert!(records >= 50, "the activity was written");
}

#[actix_web::test]
async fn a_ping_after_a_long_silence_is_safe_from_a_crash_in_the_same_moment() {
    let mut bench = Bench::new(&[]).await;
    bench.create(idle("quiet", 600)).await;
    sleep(500.0).await;
    bench.supervisor.touch(&id("quiet"), ActivitySource::Ping).await.expect("alive");
    let promised = bench.now() + 600.0;
    bench = bench.crash_and_restart().await;
    let back = bench.supervisor.get(&id("quiet")).await.expect("back");
    let deadline = bench.supervisor.now().wall_at(back.idle_deadline().expect("a deadline"));
    let flush = bench.settings.store.flush_interval.as_secs_f64();
    assert!(deadline >= promised - 1e-6 && deadline <= promised + flush + 1e-3, "{promised} became {deadline}");
}

#[actix_web::test]
async fn a_crash_ends_nothing_early_and_a_restart_waits_for_its_grace() {
    let mut bench = Bench::new(&[("lifecycle.restart_grace", "60")]).await;
    bench.create(idle("short", 10)).await;
    bench.create(idle("long", 500)).await;
    sleep(5.0).await;
    let promised = bench.supervisor.touch(&id("long"), ActivitySource::Ping).await.expect("alive");
    let promised = bench.supervisor.now().wall_at(promised.idle_deadline().expect("a deadline"));
    sleep(1.0).await;
    bench = bench.crash_and_restart().await;
    assert_eq!(bench.restoration.sandboxes, 2);
    let back = bench.supervisor.get(&id("long")).await.expect("back");
    let deadline = bench.supervisor.now().wall_at(back.idle_deadline().expect("a deadline"));
    let flush = bench.settings.store.flush_interval.as_secs_f64();
    assert!(deadline >= promised && deadline <= promised + flush + 1e-3, "{promised} became {deadline}");
    // The short one is overdue soon after, and stays until the grace is over.
    sleep(59.0).await;
    assert_eq!(status(&bench, "short").await, Status::Running);
    sleep(1.1).await;
    assert_eq!(status(&bench, "short").await, Status::Terminated);
    sleep(promised - bench.now() - 0.01).await;
    assert_eq!(status(&bench, "long").await, Status::Running);
    sleep(flush + 0.1).await;
    assert_eq!(status(&bench, "long").await, Status::Terminated);
}

async fn a_wall_clock_jumps_by(seconds: i64) {
    let mut bench = Bench::new(&[("lifecycle.restart_grace", "1")]).await;
    bench.create(idle("steady", 600)).await;
    sleep(100.0).await;
    bench.set_wall_clock(seconds);
    sleep(100.0).await;
    assert_eq!(status(&bench, "steady").await, Status::Running);
    bench = bench.crash_and_restart().await;
    // 200 s of 600 are over by the monotonic clock, and a restart adds a second.
    sleep(399.0).await;
    assert_eq!(status(&bench, "steady").await, Status::Running);
    sleep(3.0).await;
    assert_eq!(status(&bench, "steady").await, Status::Terminated);
}

#[actix_web::test]
async fn a_wall_clock_that_is_set_forward_ends_nothing_neither_now_nor_after_a_crash() {
    a_wall_clock_jumps_by(3600).await;
}

#[actix_web::test]
async fn a_wall_clock_that_is_set_back_makes_nothing_immortal() {
    a_wall_clock_jumps_by(-3600).await;
}

#[actix_web::test]
async fn a_clean_stop_loses_no_activity_and_ends_no_sandbox() {
    let mut bench = Bench::new(&[]).await;
    bench.create(idle("kept", 500)).await;
    sleep(3.3).await;
    bench.supervisor.touch(&id("kept"), ActivitySource::Ping).await.expect("alive");
    let at = bench.now();
    bench = bench.stop_and_restart().await;
    assert_eq!(bench.runtime.len(), 1);
    let back = bench.supervisor.get(&id("kept")).await.expect("back");
    let last = bench.supervisor.now().wall_at(back.last_activity());
    assert!((last - at).abs() < 0.002, "{at} became {last}");
    // The engine is asked again for a container that the new supervisor has never started.
    bench.supervisor.terminate(&id("kept"), 10 * SECOND).await.expect("terminated");
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn tombstones_survive_a_restart_until_their_retention_is_over() {
    let mut bench = Bench::new(&[("lifecycle.retention", "100")]).await;
    bench.create(idle("gone", 3)).await;
    sleep(10.0).await;
    bench = bench.stop_and_restart().await;
    assert_eq!(bench.restoration.tombstones, 1);
    let refused = bench.supervisor.touch(&id("gone"), ActivitySource::Ping).await;
    let Err(RequestError::Gone(tombstone)) = refused else { panic!("{refused:?}") };
    assert_eq!(tombstone.end().expect("an end").reason, EndReason::Idle);
    assert_eq!(tombstone.status(), Status::Terminated);
    sleep(100.0).await;
    let refused = bench.supervisor.touch(&id("gone"), ActivitySource::Ping).await;
    assert!(matches!(refused, Err(RequestError::NotFound(_))), "{refused:?}");
}

#[actix_web::test]
async fn an_end_that_a_crash_interrupted_is_driven_on() {
    let mut bench = Bench::new(&[]).await;
    bench.create(idle("interrupted", 3)).await;
    bench.runtime.fail_always(Point::Stop, When::Before, failed());
    bench.runtime.fail_always(Point::Remove, When::Before, failed());
    sleep(5.0).await;
    bench = bench.crash_and_restart().await;
    assert_eq!(status(&bench, "interrupted").await, Status::Terminating);
    bench.runtime.heal_all();
    // Its end was decided before, so it does not wait for the grace.
    sleep(40.0).await;
    let tombstone = bench.supervisor.get(&id("interrupted")).await.expect("readable");
    assert_eq!(tombstone.end().expect("an end").reason, EndReason::Idle);
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn a_create_that_a_crash_interrupted_is_adopted_if_it_runs_and_torn_down_if_not() {
    let mut bench = Bench::new(&[]).await;
    bench.runtime.hang(Point::Ready, When::Before);
    bench.supervisor.create(idle("runs", 30), false).await.expect("recorded");
    sleep(1.0).await;
    bench.runtime.heal_all();
    bench.runtime.hang(Point::Pull, When::Before);
    bench.supervisor.create(idle("never-made", 30), false).await.expect("recorded");
    sleep(1.0).await;
    bench = bench.crash_and_restart().await;
    sleep(1.0).await;
    assert_eq!(status(&bench, "runs").await, Status::Running);
    let failed = bench.supervisor.get(&id("never-made")).await.expect("readable");
    assert_eq!((failed.status(), failed.end().expect("an end").reason), (Status::Failed, EndReason::StartFailed));
}

#[actix_web::test]
async fn a_member_without_a_record_leaves_the_set_only_after_its_container_was_dealt_with() {
    let bench = Bench::over(&[], |store| {
        store.plant_member("nothing-left", 1_799_999_990.0);
        store.plant_member("container-left", 1_799_999_990.0);
    })
    .await;
    // The engine did not answer at first, which must not count as missing containers.
    assert_eq!(bench.restoration.orphans, 2);
    let left = ContainerRef::by_labels(id("container-left"), Owner::Sandglass);
    let labels = Labels { rules: Spelling::default().with(RuleClock::Idle, 50 * SECOND), ..Labels::default() };
    bench.runtime.put(&left, "sandglass-container-left", labels, Container::Running);
    sleep(1.0).await;
    let adopted = bench.supervisor.get(&id("container-left")).await.expect("adopted");
    assert_eq!(adopted.status(), Status::Running);
    assert_eq!(adopted.rules().after(RuleClock::Idle), Some(50 * SECOND));
    assert!(bench.store.record("container-left").is_some(), "its record is written");
    let members: Vec<_> = bench.store.active_members().into_iter().map(|(member, _)| member).collect();
    assert_eq!(members, [b"container-left".to_vec()]);
}

#[actix_web::test]
async fn a_start_waits_for_a_store_that_cannot_be_read_and_takes_no_error_for_emptiness() {
    let mut bench = Bench::new(&[]).await;
    bench.create(idle("kept", 500)).await;
    sleep(2.0).await;
    bench.store.bury_holder();
    let store = bench.store.reopen();
    store.fail_next(memory::Point::Active, 7, StoreError::Unavailable("on purpose".into()));
    bench = bench.start_on(store).await;
    assert_eq!(bench.restoration.sandboxes, 1);
    assert_eq!(status(&bench, "kept").await, Status::Running);
}

#[actix_web::test]
async fn who_loses_the_lease_stops_writing_and_terminating_at_once() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("mine", 30)).await;
    sleep(2.0).await;
    bench.store.usurp("somebody else");
    let before = bench.store.written();
    sleep(300.0).await;
    assert_eq!(bench.runtime.len(), 1, "a container was removed without the lease");
    assert_eq!(bench.store.written().writes, before.writes);
    assert!(bench.supervisor.shared().journal.lost().is_cancelled());
    let refused = bench.try_create(idle("another", 30)).await;
    assert!(matches!(refused, Err(RequestError::StoreUnavailable(_))), "{refused:?}");
}

#[actix_web::test]
async fn whoever_lost_the_lease_acknowledges_nothing_more() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("mine", 600)).await;
    sleep(100.0).await;
    bench.store.usurp("somebody else");
    // The first one finds out by its own write, the others are refused at once.
    for _ in 0..3 {
        let refused = bench.supervisor.touch(&id("mine"), ActivitySource::Ping).await;
        assert!(matches!(refused, Err(RequestError::StoreUnavailable(_))), "{refused:?}");
    }
    let refused = bench.supervisor.pause(&id("mine")).await;
    assert!(matches!(refused, Err(RequestError::StoreUnavailable(_))), "{refused:?}");
}

#[actix_web::test]
async fn while_the_store_is_down_pings_pile_nothing_up() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("busy", 600)).await;
    sleep(10.0).await;
    bench.store.go_down();
    bench.supervisor.keep_alive(&id("busy"), 60 * SECOND).await.expect("in memory");
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..1000 {
        bench.supervisor.touch(&id("busy"), ActivitySource::Ping).await.expect("in memory");
        bench.supervisor.keep_alive(&id("busy"), 60 * SECOND).await.expect("in memory");
    }
    sleep(5.0).await;
    assert!(tasks() <= before + 5, "{before} tasks became {}", tasks());
    let refused = bench.supervisor.pause(&id("busy")).await;
    assert!(matches!(refused, Err(RequestError::StoreUnavailable(_))), "{refused:?}");
}

#[actix_web::test]
async fn a_store_that_comes_back_empty_is_written_again_from_memory() {
    let bench = Bench::new(&[]).await;
    for name in ["one", "two", "three"] {
        bench.create(idle(name, 600)).await;
    }
    sleep(10.0).await;
    bench.store.wipe();
    // Without requests, the renewal of the lease finds out.
    sleep(10.0).await;
    assert_eq!(bench.store.active_members().len(), 3);
    let bench = bench.crash_and_restart().await;
    assert_eq!(bench.restoration.sandboxes, 3);
}

#[actix_web::test]
async fn an_id_whose_record_is_lost_is_nobodys_until_its_container_was_looked_for() {
    let bench = Bench::over(&[], |store| store.plant("odd", 1_799_999_990.0, "{not json")).await;
    bench.runtime.set_latency_of(Point::Inspect, 5 * SECOND);
    let bench = bench.crash_and_restart().await;
    let left = ContainerRef::by_labels(id("odd"), Owner::Sandglass);
    bench.runtime.put(&left, "sandglass-odd", Labels::default(), Container::Running);
    let refused = bench.try_create(idle("odd", 3)).await;
    assert!(matches!(refused, Err(RequestError::Starting)), "{refused:?}");
    assert!(matches!(bench.supervisor.get(&id("odd")).await, Err(RequestError::Starting)));
    sleep(11.0).await;
    assert_eq!(status(&bench, "odd").await, Status::Running);
    assert_eq!(bench.runtime.len(), 1);
}

#[actix_web::test]
async fn a_container_that_ends_by_itself_ends_its_sandbox_with_the_code() {
    use sandglass::domain::sandbox::Event;
    let bench = Bench::new(&[]).await;
    for (name, event, reason, last) in [
        (
            "done",
            Event::ContainerExited { code: Some(0), oom_killed: false, last_output: None },
            EndReason::Exited,
            Status::Succeeded,
        ),
        (
            "broken",
            Event::ContainerExited { code: Some(3), oom_killed: false, last_output: None },
            EndReason::Exited,
            Status::Failed,
        ),
        (
            "greedy",
            Event::ContainerExited { code: Some(137), oom_killed: true, last_output: None },
            EndReason::OomKilled,
            Status::Failed,
        ),
        ("lost", Event::ContainerVanished, EndReason::Vanished, Status::Failed),
    ] {
        bench.create(idle(name, 300)).await;
        bench.supervisor.shared().registry.with_live(&id(name), |handle| handle.tell(event)).expect("alive");
        sleep(0.1).await;
        let ended = bench.supervisor.get(&id(name)).await.expect("readable");
        assert!(ended.is_gone());
        assert_eq!((ended.end().expect("an end").reason, ended.status()), (reason, last));
    }
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn ten_thousand_deadlines_of_one_second_are_met_and_none_early() {
    let bench = Bench::new(&[("docker.max_sandboxes", "20000"), ("docker.max_creates", "1000")]).await;
    for chunk in 0..100 {
        let creates = (0..100).map(|index| bench.try_create(idle(&format!("s{chunk}-{index}"), 60)));
        for outcome in futures_util::future::join_all(creates).await {
            outcome.expect("created");
        }
    }
    sleep(59.0).await;
    assert_eq!(bench.runtime.len(), 10_000, "ended early");
    bench.until(5 * SECOND, || bench.runtime.is_empty()).await;
    let text = bench.supervisor.metrics();
    assert!(text.contains("sandglass_ends_total{reason=\"idle\"} 10000"), "{text}");
    assert!(text.contains("sandglass_lateness_seconds_bucket{le=\"0.05\"} 10000"), "{text}");
}
