//! Containers that end by themselves, are changed by hand, or end while no supervisor runs.

use std::time::Duration;

use sandglass::{
    domain::{
        ActivitySource, EndReason, Sandbox, Status,
        sandbox::{Container, RuleClock, Spelling},
    },
    ports::runtime::{ContainerRef, Labels, Owner, Runtime, RuntimeError, Stranger},
    runtime::memory::{Point, When},
};

use crate::support::bench::{Bench, id, idle};

const SECOND: Duration = Duration::from_secs(1);

async fn sleep(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

async fn get(bench: &Bench, name: &str) -> Sandbox {
    bench.supervisor.get(&id(name)).await.expect("readable")
}

fn reason(sandbox: &Sandbox) -> EndReason {
    sandbox.end().expect("an end").reason
}

/// A container with our labels but without a sandbox.
fn orphan(name: &str) -> ContainerRef {
    ContainerRef::by_labels(id(name), Owner::Sandglass)
}

fn labels(idle_timeout: u64) -> Labels {
    Labels { rules: Spelling::default().with(RuleClock::Idle, Duration::from_secs(idle_timeout)), ..Labels::default() }
}

fn broken() -> RuntimeError {
    RuntimeError::Unreachable("on purpose".into())
}

#[actix_web::test]
async fn a_container_that_ends_by_itself_ends_its_sandbox_within_seconds_and_says_how() {
    let bench = Bench::new(&[]).await;
    for name in ["done", "broken", "greedy"] {
        bench.create(idle(name, 600)).await;
    }
    bench.runtime.exit(&id("done"), 0);
    bench.runtime.write_output(&id("broken"), "no such file");
    bench.runtime.exit(&id("broken"), 3);
    bench.runtime.exhaust_memory(&id("greedy"));
    sleep(3.0).await;
    for (name, why, status) in [
        ("done", EndReason::Exited, Status::Succeeded),
        ("broken", EndReason::Exited, Status::Failed),
        ("greedy", EndReason::OomKilled, Status::Failed),
    ] {
        let ended = get(&bench, name).await;
        assert_eq!((reason(&ended), ended.status(), ended.is_gone()), (why, status, true), "{name}");
    }
    assert_eq!(get(&bench, "broken").await.end().expect("an end").exit_code, Some(3));
    assert!(bench.runtime.is_empty());
    assert_eq!(get(&bench, "broken").await.details.last_output.as_deref(), Some("no such file"));
    let bench = bench.stop_and_restart().await;
    assert_eq!(
        get(&bench, "broken").await.details.last_output.as_deref(),
        Some("no such file"),
        "it is not written down"
    );
    assert_eq!(get(&bench, "done").await.details.last_output, None);
}

/// A bench with rare comparisons with the engine, a running sandbox and a paused one.
async fn with_running_and_paused() -> Bench {
    let bench = Bench::new(&[("docker.reconcile_interval", "3600"), ("templates.base.ports", "[80]")]).await;
    for name in ["running", "paused"] {
        bench.create(idle(name, 60)).await;
    }
    bench.supervisor.pause(&id("paused")).await.expect("paused");
    sleep(5.0).await;
    bench
}

async fn both_go_on(bench: &Bench) {
    for (name, status, state) in
        [("running", Status::Running, Container::Running), ("paused", Status::Paused, Container::Paused)]
    {
        let sandbox = get(bench, name).await;
        assert_eq!((sandbox.status(), sandbox.is_restarting()), (status, false), "{name}");
        assert_eq!(bench.runtime.state_of(&id(name)), Some(state), "{name}");
    }
    let sandbox = get(bench, "running").await;
    let container = ContainerRef::of(&sandbox);
    let found = bench.runtime.inspect(&container).await.expect("an answer").expect("it is there");
    let address = found.started.base_url.expect("a published port");
    assert_eq!(sandbox.details.base_url.as_deref(), Some(address.as_str()), "its address is that of before");
}

#[actix_web::test]
async fn an_engine_that_is_restarted_ends_nothing() {
    let bench = with_running_and_paused().await;
    let before = get(&bench, "running").await;
    bench.runtime.engine_stops();
    // Longer than the idle timeout, in which no client could use the sandbox.
    sleep(100.0).await;
    let meanwhile = get(&bench, "running").await;
    assert_eq!((meanwhile.status(), meanwhile.terminates_at()), (Status::Running, None));
    bench.runtime.engine_starts(false);
    sleep(20.0).await;
    both_go_on(&bench).await;
    let after = get(&bench, "running").await;
    assert_eq!(after.details.container_id, before.details.container_id, "it is another container, without its files");
    assert_ne!(after.details.base_url, before.details.base_url);
    assert_eq!(after.activity_by(ActivitySource::Resume).count, 0);
    // It keeps the time that was left, and then ends like any other.
    sleep(70.0).await;
    assert_eq!(reason(&get(&bench, "running").await), EndReason::Idle);
}

#[actix_web::test]
async fn an_engine_that_is_killed_and_stops_its_containers_when_it_comes_back_ends_nothing() {
    let bench = with_running_and_paused().await;
    bench.runtime.engine_dies();
    sleep(10.0).await;
    bench.runtime.engine_starts(false);
    sleep(20.0).await;
    both_go_on(&bench).await;
}

#[actix_web::test]
async fn an_engine_that_keeps_its_containers_restarts_nothing() {
    let bench = with_running_and_paused().await;
    let before = get(&bench, "running").await;
    bench.runtime.engine_dies();
    sleep(10.0).await;
    bench.runtime.engine_starts(true);
    sleep(20.0).await;
    both_go_on(&bench).await;
    assert_eq!(get(&bench, "running").await.details.started_at, before.details.started_at);
}

#[actix_web::test]
async fn a_host_that_was_started_anew_ends_nothing() {
    let mut bench = with_running_and_paused().await;
    bench.runtime.engine_dies();
    bench.runtime.engine_starts(false);
    bench = bench.crash_and_restart().await;
    sleep(20.0).await;
    both_go_on(&bench).await;
}

#[actix_web::test]
async fn a_host_that_was_started_anew_ends_nothing_also_where_the_records_were_lost_with_it() {
    let mut bench = Bench::new(&[("docker.reconcile_interval", "10"), ("docker.orphan_grace", "5")]).await;
    bench.create(idle("w", 600)).await;
    sleep(20.0).await;
    bench.runtime.engine_dies();
    bench.runtime.engine_starts(false);
    bench.store.wipe();
    bench = bench.crash_and_restart().await;
    sleep(30.0).await;
    assert_eq!(get(&bench, "w").await.status(), Status::Running);
    assert_eq!(bench.runtime.state_of(&id("w")), Some(Container::Running));
    assert!(bench.store.record("w").is_some(), "it has a record again");
}

#[actix_web::test]
async fn a_container_that_is_restarted_by_hand_is_reached_where_it_is_now() {
    let bench = with_running_and_paused().await;
    let before = get(&bench, "running").await;
    bench.runtime.exit(&id("running"), 143);
    sleep(1.0).await;
    bench.runtime.set_state(&id("running"), Container::Running);
    sleep(5.0).await;
    both_go_on(&bench).await;
    assert_ne!(get(&bench, "running").await.details.base_url, before.details.base_url);
}

#[actix_web::test]
async fn a_restart_that_the_engine_refuses_again_and_again_ends_its_sandbox_with_its_words() {
    let bench = with_running_and_paused().await;
    bench.runtime.engine_stops();
    bench.runtime.fail_always(Point::Start, When::Before, RuntimeError::Failed("no space left".into()));
    bench.runtime.engine_starts(false);
    // Its dependencies may start later than the engine.
    sleep(45.0).await;
    let waiting = get(&bench, "running").await;
    assert_eq!((waiting.status(), waiting.is_restarting()), (Status::Running, true));
    assert!(waiting.details.engine_error.as_deref().expect("words").contains("no space left"));
    sleep(200.0).await;
    let ended = get(&bench, "running").await;
    assert_eq!((reason(&ended), ended.status()), (EndReason::Exited, Status::Failed));
    assert!(ended.details.error_message.as_deref().expect("words").contains("no space left"));
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn what_a_container_needs_may_come_later_than_its_engine() {
    let bench = with_running_and_paused().await;
    bench.runtime.engine_stops();
    bench.runtime.fail_always(Point::Start, When::Before, RuntimeError::Failed("no such disk".into()));
    bench.runtime.engine_starts(false);
    sleep(45.0).await;
    bench.runtime.heal(Point::Start);
    // The longest wait between two tries is a minute.
    for _ in 0..61 {
        sleep(1.0).await;
        if !get(&bench, "running").await.is_restarting() && !get(&bench, "paused").await.is_restarting() {
            break;
        }
    }
    both_go_on(&bench).await;
    assert_eq!(get(&bench, "running").await.details.engine_error, None);
}

#[actix_web::test]
async fn an_engine_that_was_away_is_no_missed_heartbeat() {
    let bench = Bench::new(&[("templates.base.heartbeat_timeout", "30")]).await;
    bench.create(idle("beating", 3600)).await;
    bench.runtime.engine_dies();
    sleep(100.0).await;
    bench.runtime.engine_starts(false);
    sleep(20.0).await;
    let sandbox = get(&bench, "beating").await;
    assert_eq!((sandbox.status(), sandbox.is_restarting()), (Status::Running, false));
    // It gets a whole timeout again, and no more.
    sleep(40.0).await;
    assert_eq!(reason(&get(&bench, "beating").await), EndReason::Unresponsive);
}

#[actix_web::test]
async fn a_sandbox_whose_restart_is_awaited_can_be_ended() {
    let bench = with_running_and_paused().await;
    bench.runtime.engine_stops();
    sleep(10.0).await;
    bench.supervisor.terminate(&id("running"), Duration::ZERO).await.expect("on its way");
    bench.runtime.engine_starts(false);
    sleep(70.0).await;
    assert_eq!(reason(&get(&bench, "running").await), EndReason::Requested);
    assert_eq!(bench.runtime.state_of(&id("running")), None);
}

#[actix_web::test]
async fn a_container_that_is_paused_for_as_long_as_a_commit_takes_is_not_used_by_that() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("committed", 30)).await;
    for pause in [0.1, 3.0] {
        sleep(5.0).await;
        let before = get(&bench, "committed").await;
        bench.runtime.set_state(&id("committed"), Container::Paused);
        sleep(pause).await;
        bench.runtime.set_state(&id("committed"), Container::Running);
        sleep(2.0).await;
        let after = get(&bench, "committed").await;
        let moved = after.idle_deadline().expect("running").since(before.idle_deadline().expect("running"));
        // Timers have a resolution of a millisecond.
        assert!(moved <= Duration::from_secs_f64(pause + 0.01), "its idle clock moved by {moved:?}");
        assert_eq!((after.expires_at(), after.last_activity_by()), (before.expires_at(), before.last_activity_by()));
    }
}

#[actix_web::test]
async fn ports_that_have_moved_are_noticed_by_the_next_comparison() {
    let bench = Bench::new(&[("docker.reconcile_interval", "10"), ("templates.base.ports", "[80]")]).await;
    let before = bench.create(idle("moved", 600)).await;
    sleep(15.0).await;
    bench.runtime.move_ports(&id("moved"));
    sleep(15.0).await;
    let after = get(&bench, "moved").await;
    assert_ne!(after.details.base_url, before.details.base_url);
    let stored = String::from_utf8(bench.store.record("moved").expect("a record")).expect("a text");
    assert!(stored.contains(after.details.base_url.as_deref().expect("an address")), "{stored}");
}

#[actix_web::test]
async fn a_container_that_is_removed_by_hand_is_reported_as_vanished() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("taken", 600)).await;
    sleep(100.0).await;
    bench.runtime.vanish(&id("taken"));
    sleep(1.0).await;
    let ended = get(&bench, "taken").await;
    assert_eq!((reason(&ended), ended.status()), (EndReason::Vanished, Status::Failed));
}

#[actix_web::test]
async fn a_container_that_is_paused_by_hand_stops_the_idle_clock_until_it_is_thawed() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("frozen", 30)).await;
    bench.runtime.set_state(&id("frozen"), Container::Paused);
    sleep(1000.0).await;
    assert_eq!(get(&bench, "frozen").await.status(), Status::Paused);
    bench.runtime.set_state(&id("frozen"), Container::Running);
    sleep(29.0).await;
    assert_eq!(get(&bench, "frozen").await.status(), Status::Running);
    sleep(2.0).await;
    assert_eq!(reason(&get(&bench, "frozen").await), EndReason::Idle);
}

#[actix_web::test]
async fn what_happens_while_the_event_stream_is_broken_is_noticed_after_it() {
    let bench = Bench::new(&[("docker.reconcile_interval", "3600")]).await;
    for name in ["ends", "goes", "stays"] {
        bench.create(idle(name, 7200)).await;
    }
    sleep(5.0).await;
    bench.runtime.fail_always(Point::Events, When::Before, broken());
    bench.runtime.fail_next(Point::Events, When::After, 1, broken());
    bench.runtime.exit(&id("ends"), 7);
    bench.runtime.vanish(&id("goes"));
    sleep(60.0).await;
    bench.runtime.heal_all();
    sleep(15.0).await;
    assert_eq!(get(&bench, "ends").await.end().expect("an end").exit_code, Some(7));
    assert_eq!(reason(&get(&bench, "goes").await), EndReason::Vanished);
    assert_eq!(get(&bench, "stays").await.status(), Status::Running);
}

#[actix_web::test]
async fn a_list_that_fails_concludes_nothing() {
    let bench = Bench::new(&[("docker.reconcile_interval", "5"), ("docker.orphan_grace", "1")]).await;
    bench.create(idle("lives", 7200)).await;
    bench.runtime.put(&orphan("stray"), "stray", labels(1), Container::Running);
    bench.runtime.fail_always(Point::List, When::Before, broken());
    sleep(100.0).await;
    assert_eq!(get(&bench, "lives").await.status(), Status::Running);
    assert_eq!(bench.runtime.len(), 2);
    bench.runtime.heal_all();
    sleep(10.0).await;
    assert_eq!(reason(&get(&bench, "stray").await), EndReason::Orphaned);
    assert_eq!(bench.runtime.len(), 1);
}

#[actix_web::test]
async fn an_orphan_is_adopted_if_its_labels_say_that_it_should_live_and_removed_if_not() {
    let bench = Bench::new(&[("docker.reconcile_interval", "10"), ("docker.orphan_grace", "60")]).await;
    bench.runtime.put(&orphan("young"), "young", labels(500), Container::Running);
    bench.runtime.put(&orphan("old"), "old", labels(30), Container::Running);
    bench.runtime.put(&orphan("dead"), "dead", labels(500), Container::Stopped(Some(1)));
    bench.runtime.put(&orphan("unborn"), "unborn", labels(500), Container::Stopped(None));
    sleep(55.0).await;
    assert_eq!(bench.runtime.len(), 4, "nothing is done within the grace");
    assert!(bench.supervisor.get(&id("young")).await.is_err());
    sleep(20.0).await;
    let adopted = get(&bench, "young").await;
    assert_eq!(adopted.status(), Status::Running);
    assert_eq!(adopted.rules().after(RuleClock::Idle), Some(500 * SECOND));
    assert!(bench.store.record("young").is_some(), "it has a record from now on");
    for name in ["old", "unborn"] {
        assert_eq!(reason(&get(&bench, name).await), EndReason::Orphaned, "{name}");
    }
    // The engine was up all the time, so the container ended by itself.
    assert_eq!(reason(&get(&bench, "dead").await), EndReason::Exited);
    assert_eq!(bench.runtime.len(), 1);
    // Its last activity is unknown, so it gets its whole timeout, and then ends like any other.
    sleep(510.0).await;
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn a_container_that_runs_under_a_tombstone_is_removed() {
    let bench = Bench::new(&[("docker.reconcile_interval", "10")]).await;
    bench.create(idle("gone", 600)).await;
    bench.supervisor.terminate(&id("gone"), 10 * SECOND).await.expect("ended");
    bench.runtime.put(&orphan("gone"), "gone-again", labels(600), Container::Running);
    sleep(15.0).await;
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn a_left_over_of_an_earlier_sandbox_is_removed_and_the_new_one_is_not_touched() {
    let bench = Bench::new(&[("docker.reconcile_interval", "10"), ("docker.orphan_grace", "30")]).await;
    let current = bench.create(idle("twice", 6000)).await;
    bench.runtime.put(&orphan("twice"), "an-earlier-one", labels(6000), Container::Running);
    sleep(50.0).await;
    assert_eq!(bench.runtime.len(), 1);
    let container = current.details.container_id.as_deref().expect("a container");
    assert_eq!(bench.runtime.state_of_id(container), Some(Container::Running));
    bench.supervisor.touch(&id("twice"), ActivitySource::Ping).await.expect("alive");
}

#[actix_web::test]
async fn a_copy_of_a_sandboxs_container_is_a_strangers_whatever_becomes_of_the_sandbox() {
    let mut bench = Bench::new(&[("docker.reconcile_interval", "5"), ("docker.orphan_grace", "5")]).await;
    let created = bench.create(idle("w", 6000)).await;
    let copies = [
        bench.runtime.put_stranger(Stranger::Copy, &orphan("w"), "mine", labels(1)),
        bench.runtime.put_stranger(Stranger::Copy, &orphan("other"), "relabelled", labels(1)),
    ];
    let all_run = |bench: &Bench| copies.iter().all(|copy| bench.runtime.state_of_id(copy) == Some(Container::Running));
    sleep(30.0).await;
    assert!(all_run(&bench), "removed beside the sandbox that it was copied from");
    assert!(bench.supervisor.get(&id("other")).await.is_err(), "a copy was adopted");
    // Without the store's file, only the sandbox's own container is adopted.
    let supervisor = bench.supervisor.clone();
    supervisor.abandon();
    bench = bench.start_on(sandglass::store::MemoryStore::new()).await;
    sleep(30.0).await;
    let adopted = get(&bench, "w").await;
    assert_eq!(adopted.details.container_id, created.details.container_id);
    assert!(all_run(&bench) && bench.supervisor.get(&id("other")).await.is_err());
    bench.supervisor.terminate(&id("w"), 10 * SECOND).await.expect("ended");
    sleep(30.0).await;
    assert!(all_run(&bench), "removed after the end of the sandbox that it was copied from");
    assert_eq!(bench.runtime.len(), 2);
}

#[actix_web::test]
async fn a_container_of_another_living_store_is_counted_and_left_alone_also_under_the_name_of_a_sandbox() {
    let bench = Bench::new(&[("docker.reconcile_interval", "5"), ("docker.orphan_grace", "5")]).await;
    let theirs = bench.runtime.put_stranger(Stranger::OfAnotherStore, &orphan("w"), "sandglass-w", labels(1));
    sleep(30.0).await;
    assert!(bench.supervisor.get(&id("w")).await.is_err(), "it was adopted");
    assert!(bench.supervisor.metrics().contains("sandglass_foreign_containers 1"));
    bench.try_create(idle("w", 600)).await.expect_err("its name is taken");
    sleep(30.0).await;
    assert_eq!(reason(&get(&bench, "w").await), EndReason::StartFailed);
    assert_eq!(bench.runtime.state_of_id(&theirs), Some(Container::Running));
}

#[actix_web::test]
async fn a_container_that_was_renamed_is_still_the_one_of_its_record() {
    let bench = Bench::new(&[("docker.reconcile_interval", "5"), ("docker.orphan_grace", "5")]).await;
    bench.create(idle("renamed", 20)).await;
    bench.runtime.rename(&id("renamed"), "mine");
    sleep(15.0).await;
    assert_eq!(get(&bench, "renamed").await.status(), Status::Running);
    sleep(10.0).await;
    assert!(bench.runtime.is_empty(), "it was forgotten");
}

#[actix_web::test]
async fn a_resume_that_a_crash_parts_from_its_record_is_found_out() {
    let mut bench = Bench::new(&[]).await;
    bench.create(idle("thawed", 300)).await;
    bench.supervisor.pause(&id("thawed")).await.expect("paused");
    sleep(2.0).await;
    bench.store.go_down();
    sleep(10.0).await;
    bench.supervisor.resume(&id("thawed"), None).await.expect("in memory");
    bench.store.heal_all();
    bench.store.usurp("the crash comes first");
    sleep(2.0).await;
    bench = bench.crash_and_restart().await;
    sleep(5.0).await;
    assert_eq!(get(&bench, "thawed").await.status(), Status::Running);
    sleep(400.0).await;
    assert!(bench.runtime.is_empty(), "it was forgotten as paused");
}

#[actix_web::test]
async fn after_a_restart_a_missing_container_is_believed_only_after_the_grace() {
    let mut bench = Bench::new(&[("docker.reconcile_interval", "10")]).await;
    bench.create(idle("lost", 6000)).await;
    bench.create(idle("kept", 6000)).await;
    sleep(5.0).await;
    bench.store.bury_holder();
    bench.runtime.vanish(&id("lost"));
    sleep(1.0).await;
    bench = bench.crash_and_restart().await;
    sleep(50.0).await;
    assert_eq!(get(&bench, "lost").await.status(), Status::Running);
    sleep(30.0).await;
    assert_eq!(reason(&get(&bench, "lost").await), EndReason::Vanished);
    assert_eq!(get(&bench, "kept").await.status(), Status::Running);
}

#[actix_web::test]
async fn containers_of_other_prefixes_and_of_strangers_are_left_alone() {
    let bench = Bench::new(&[("docker.reconcile_interval", "5"), ("docker.orphan_grace", "1")]).await;
    let stranger = bench.runtime.put_foreign("sandglass-somebody");
    let reference = ContainerRef { owner: Owner::Reference { task_id: "77".into() }, ..orphan("77") };
    let reference = bench.runtime.put(&reference, "task-77", Labels::default(), Container::Running);
    sleep(100.0).await;
    for container in [stranger, reference] {
        assert_eq!(bench.runtime.state_of_id(&container), Some(Container::Running));
    }
}

#[actix_web::test]
async fn a_record_that_the_store_lost_is_written_again_and_the_end_of_a_sandbox_is_not_taken_for_that() {
    let bench = Bench::new(&[("lifecycle.retention", "1")]).await;
    for name in ["evicted", "dropped", "whole", "ends"] {
        bench.create(idle(name, 7200)).await;
    }
    sleep(1.0).await;
    let before = bench.store.record("evicted").expect("a record");
    bench.store.evict("evicted");
    bench.store.lose_member("dropped");
    bench.store.reset_written();
    bench.supervisor.terminate(&id("ends"), Duration::from_secs(5)).await.expect("ended");
    sleep(121.0).await;
    assert!(bench.store.record("evicted").is_some(), "written again");
    assert_eq!(before.len(), bench.store.record("evicted").expect("a record").len());
    let members: Vec<_> = bench.store.active_members().into_iter().map(|(member, _)| member).collect();
    assert_eq!(members, [b"dropped".to_vec(), b"evicted".to_vec(), b"whole".to_vec()]);
    // The intent and the tombstone of the one that ended, and the two that were lost.
    assert_eq!(bench.store.reset_written().writes, 4);
    assert!(bench.supervisor.metrics().contains("sandglass_records_lost_total 2\n"));
    sleep(600.0).await;
    assert_eq!(bench.store.reset_written().writes, 0, "what is there is left alone");
}

#[actix_web::test]
async fn settings_of_the_store_that_may_lose_records_are_told_and_keep_nobody_from_working() {
    let bench = Bench::over(&[], |store| store.endanger(&["it forgets things"])).await;
    sleep(1.0).await;
    assert_eq!(bench.supervisor.health().hazards(), ["it forgets things"]);
    bench.create(idle("a", 600)).await;
    bench.store.endanger(&[]);
    sleep(121.0).await;
    assert!(bench.supervisor.health().hazards().is_empty());
}
