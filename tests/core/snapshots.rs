//! Sandboxes of which a snapshot is taken: their containers stand still meanwhile, and they do not.

use std::time::Duration;

use sandglass::{
    domain::{ActivitySource, EndReason, OnTimeout, Status, sandbox::Container},
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
    sandboxes::{Create, RequestError, SnapshotRequest},
};

use crate::support::bench::{Bench, id, idle};

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// A bench with the sandbox `s`, of which a snapshot is being taken until the engine is healed.
async fn with_a_snapshot_under_way(create: Create) -> (Bench, tokio::task::JoinHandle<Result<(), RequestError>>) {
    let bench = Bench::new(&[("docker.reconcile_interval", "5")]).await;
    bench.create(create).await;
    bench.runtime.hang(Point::Snapshot, When::Before);
    let sandboxes = bench.supervisor.sandboxes();
    let taking = tokio::task::spawn_local(async move {
        sandboxes.take_snapshot(&id("s"), SnapshotRequest::default()).await.map(drop)
    });
    let frozen = || bench.runtime.state_of(&id("s")) == Some(Container::Paused);
    bench.until(Duration::from_secs(1), frozen).await;
    (bench, taking)
}

#[actix_web::test]
async fn a_sandbox_is_not_paused_while_a_snapshot_is_taken() {
    let (bench, taking) = with_a_snapshot_under_way(idle("s", 600)).await;
    // Events and several comparisons with the engine show a frozen container.
    sleep(30).await;
    let sandbox = bench.supervisor.get(&id("s")).await.unwrap();
    assert_eq!(sandbox.status(), Status::Running);
    assert_eq!(sandbox.activity_by(ActivitySource::Snapshot).count, 1);
    bench.runtime.heal(Point::Snapshot);
    taking.await.unwrap().unwrap();
    assert_eq!(bench.runtime.state_of(&id("s")), Some(Container::Running));
}

#[actix_web::test]
async fn a_pause_waits_for_a_snapshot_and_then_holds() {
    let (bench, taking) = with_a_snapshot_under_way(idle("s", 600)).await;
    let sandboxes = bench.supervisor.sandboxes();
    let pausing = tokio::task::spawn_local(async move { sandboxes.pause(&id("s")).await });
    sleep(10).await;
    assert!(!pausing.is_finished());
    bench.runtime.heal(Point::Snapshot);
    taking.await.unwrap().unwrap();
    assert_eq!(pausing.await.unwrap().unwrap().status(), Status::Paused);
    sleep(30).await;
    assert_eq!(bench.runtime.state_of(&id("s")), Some(Container::Paused));
    assert_eq!(bench.supervisor.get(&id("s")).await.unwrap().status(), Status::Paused);
}

/// The engine thaws the container when it has copied it, whatever became of the sandbox.
#[actix_web::test]
async fn a_sandbox_that_pauses_by_itself_during_a_snapshot_stays_paused() {
    let timeout = Some(Duration::from_secs(20));
    let (bench, taking) =
        with_a_snapshot_under_way(Create { timeout, on_timeout: Some(OnTimeout::Pause), ..idle("s", 600) }).await;
    sleep(25).await;
    assert_eq!(bench.supervisor.get(&id("s")).await.unwrap().status(), Status::Paused);
    bench.runtime.heal(Point::Snapshot);
    taking.await.unwrap().unwrap();
    sleep(30).await;
    assert_eq!(bench.runtime.state_of(&id("s")), Some(Container::Paused));
    assert_eq!(bench.supervisor.get(&id("s")).await.unwrap().status(), Status::Paused);
}

#[actix_web::test]
async fn a_sandbox_ends_when_it_is_due_also_during_a_snapshot() {
    let (bench, taking) = with_a_snapshot_under_way(idle("s", 20)).await;
    sleep(25).await;
    let sandbox = bench.supervisor.get(&id("s")).await.unwrap();
    assert_eq!((sandbox.end().map(|end| end.reason), sandbox.is_gone()), (Some(EndReason::Idle), true));
    bench.runtime.heal(Point::Snapshot);
    let _ = taking.await.unwrap();
    assert!(bench.runtime.is_empty());
}

#[actix_web::test]
async fn a_snapshot_that_fails_leaves_the_sandbox_as_it_was() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("s", 600)).await;
    bench.runtime.fail_next(Point::Snapshot, When::Before, 1, RuntimeError::Failed("no space left".into()));
    let sandboxes = bench.supervisor.sandboxes();
    let failed = sandboxes.take_snapshot(&id("s"), SnapshotRequest::default()).await;
    assert!(matches!(&failed, Err(RequestError::RuntimeFailed(why)) if why.contains("no space left")), "{failed:?}");
    assert_eq!(bench.runtime.state_of(&id("s")), Some(Container::Running));
    sandboxes.take_snapshot(&id("s"), SnapshotRequest::default()).await.unwrap();
}

#[actix_web::test]
async fn there_are_no_more_snapshots_than_the_configuration_allows() {
    let bench = Bench::new(&[("docker.max_snapshots", "1")]).await;
    bench.create(idle("s", 600)).await;
    let sandboxes = bench.supervisor.sandboxes();
    let first = sandboxes.take_snapshot(&id("s"), SnapshotRequest::default()).await.unwrap();
    let refused = sandboxes.take_snapshot(&id("s"), SnapshotRequest::default()).await;
    assert!(matches!(refused, Err(RequestError::LimitReached(_))), "{refused:?}");
    assert!(sandboxes.remove_snapshot(&first.id).await.unwrap());
    sandboxes.take_snapshot(&id("s"), SnapshotRequest::default()).await.unwrap();
}

/// A fork removes its snapshot by itself; a crash may come before that.
#[actix_web::test]
async fn the_snapshot_of_a_fork_that_a_crash_has_left_is_removed_and_others_stay() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("s", 600)).await;
    let sandboxes = bench.supervisor.sandboxes();
    for passing in [false, true] {
        sandboxes.take_snapshot(&id("s"), SnapshotRequest { name: None, passing }).await.unwrap();
    }
    sleep(600).await;
    assert_eq!(sandboxes.snapshots().await.unwrap().len(), 2, "its fork may be under way");
    let bench = bench.crash_and_restart().await;
    sleep(3300).await;
    let left = bench.supervisor.sandboxes().snapshots().await.unwrap();
    assert_eq!(left.iter().map(|snapshot| snapshot.passing).collect::<Vec<_>>(), [false]);
    assert!(bench.supervisor.sandboxes().metrics().contains("sandglass_snapshots 1"));
}

/// A bench in which a fork of `s` into two is dropped when the first is made and the second is being started.
async fn with_a_fork_whose_client_is_gone(before: impl FnOnce(&Bench)) -> Bench {
    let bench = Bench::new(&[("docker.max_creates", "2")]).await;
    bench.create(idle("s", 600)).await;
    bench.runtime.set_latency_of(Point::Ready, Duration::from_secs(10));
    let sandboxes = bench.supervisor.sandboxes();
    let forking = tokio::task::spawn_local(async move { sandboxes.fork(&id("s"), 2, None).await.map(drop) });
    sleep(15).await;
    assert_eq!(bench.runtime.len(), 3);
    before(&bench);
    forking.abort();
    sleep(30).await;
    bench
}

#[actix_web::test]
async fn a_fork_whose_client_goes_away_leaves_nothing_that_nobody_knows() {
    let bench = with_a_fork_whose_client_is_gone(|_| ()).await;
    assert_eq!(bench.runtime.len(), 1);
    assert_eq!(bench.supervisor.get(&id("s")).await.unwrap().status(), Status::Running);
}

#[actix_web::test]
async fn a_stop_of_sandglass_ends_no_sandbox_of_a_fork() {
    let bench = with_a_fork_whose_client_is_gone(|bench| bench.supervisor.announce_stop()).await;
    assert_eq!(bench.runtime.len(), 3);
}
