//! Snapshots: the laws of their port over each engine, and what a supervisor does with them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use sandglass::{
    domain::{
        SandboxId, Status,
        sandbox::Container,
        snapshot::{Snapshot, SnapshotId},
    },
    ports::{
        runtime::{Runtime, RuntimeError},
        snapshots::Snapshots,
    },
    sandboxes::{Create, Created, RequestError, SnapshotRequest},
};

use crate::{
    engines::{Subject, laws, started},
    support::docker::{by_labels, shell, start},
    work_bench::{self, Bench, collect},
};

laws! {
    a_snapshot_is_listed_as_it_was_taken_until_it_is_removed
    a_container_is_what_it_was_before_a_snapshot
    no_snapshot_is_taken_of_what_is_not_ours
    a_sandbox_begins_with_the_files_of_a_snapshot_and_outlives_it
    a_fork_has_its_own_life_and_leaves_no_snapshot
    a_name_that_means_something_else_is_refused
}

fn snapshots(runtime: &dyn Runtime) -> &dyn Snapshots {
    runtime.snapshots().expect("the engine takes snapshots")
}

fn snapshot(of: &sandglass::ports::runtime::Start) -> Snapshot {
    Snapshot {
        id: SnapshotId::generate(),
        name: Some("a name: with = odd \"characters\" $HOME".to_owned()),
        sandbox: of.id.clone(),
        template: None,
        asked: serde_json::from_str(r#"{"limits":{"pids":64},"ports":[]}"#).expect("it is valid"),
        created_at: 1_800_000_000.25,
        passing: false,
    }
}

async fn a_snapshot_is_listed_as_it_was_taken_until_it_is_removed(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    started(&*runtime, &start).await;
    let (taken, port) = (snapshot(&start), snapshots(&*runtime));
    port.take(&by_labels(&start), &taken).await.unwrap();
    assert_eq!(port.all().await.unwrap(), std::slice::from_ref(&taken));
    // One that is taken of a sandbox that was made from it does not inherit anything.
    let mut second = self::start();
    second.spec.image = taken.image();
    started(&*runtime, &second).await;
    let of_second = Snapshot { name: None, template: Some("base".to_owned()), ..snapshot(&second) };
    port.take(&by_labels(&second), &of_second).await.unwrap();
    assert_eq!(port.all().await.unwrap().len(), 2);
    for (id, was_there) in [(&taken.id, true), (&taken.id, false), (&SnapshotId::generate(), false)] {
        assert_eq!(port.discard(id).await, Ok(was_there), "{id}");
    }
    assert_eq!(port.all().await.unwrap(), std::slice::from_ref(&of_second));
    assert_eq!(port.discard(&of_second.id).await, Ok(true));
    port.clear().await.expect("what is in use is left");
    let container = runtime.inspect(&by_labels(&second)).await.unwrap().unwrap();
    assert_eq!(container.state, Container::Running);
    for made in [&start, &second] {
        runtime.remove(&by_labels(made)).await.unwrap();
    }
    port.clear().await.unwrap();
    assert!(!subject.has_image_bytes().await, "the bytes of the removed snapshots are still there");
}

async fn a_container_is_what_it_was_before_a_snapshot(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    started(&*runtime, &start).await;
    let (container, port) = (by_labels(&start), snapshots(&*runtime));
    for state in [Container::Running, Container::Paused] {
        if state == Container::Paused {
            runtime.pause(&container).await.unwrap();
        }
        let taken = snapshot(&start);
        port.take(&container, &taken).await.unwrap();
        assert_eq!(runtime.inspect(&container).await.unwrap().unwrap().state, state);
        assert_eq!(port.discard(&taken.id).await, Ok(true));
    }
}

async fn no_snapshot_is_taken_of_what_is_not_ours(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    subject.put_others(&start).await;
    let taken = snapshots(&*runtime).take(&by_labels(&start), &snapshot(&start)).await;
    assert!(matches!(taken, Err(RuntimeError::Failed(_))), "{taken:?}");
    assert_eq!(snapshots(&*runtime).all().await.unwrap(), []);
}

async fn read(bench: &Bench, sandbox: &SandboxId, file: &str) -> String {
    collect(bench.work.begin(sandbox, &work_bench::shell(&format!("cat {file}"))).await.unwrap()).await.0
}

async fn a_sandbox_begins_with_the_files_of_a_snapshot_and_outlives_it(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let sandboxes = bench.supervisor.sandboxes();
    let file = format!("{}/note", bench.directory);
    bench.shell(&format!("mkdir -p {0} && echo kept > {file}", bench.directory)).await;
    let request = SnapshotRequest { name: Some("mine".to_owned()), passing: false };
    let snapshot = sandboxes.take_snapshot(&bench.id, request).await.unwrap();
    assert_eq!(bench.supervisor.get(&bench.id).await.unwrap().status(), Status::Running);
    for text in [snapshot.id.as_str(), "mine"] {
        assert_eq!(sandboxes.find_snapshot(text).await.unwrap(), Some(snapshot.clone()), "{text}");
    }
    let create = Create { snapshot: Some(snapshot.clone()), template: snapshot.template.clone(), ..Create::default() };
    let made = sandboxes.create(create, true).await.unwrap();
    let Created::New(made) = made else { panic!("not new: {made:?}") };
    assert!(sandboxes.remove_snapshot(&snapshot.id).await.unwrap());
    assert_eq!(sandboxes.find_snapshot("mine").await.unwrap(), None);
    assert_eq!(read(&bench, made.id(), &file).await, "kept\n");
    sandboxes.terminate(made.id(), Duration::from_secs(30)).await.unwrap();
    bench.end().await;
}

async fn a_fork_has_its_own_life_and_leaves_no_snapshot(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let sandboxes = bench.supervisor.sandboxes();
    let file = format!("{}/note", bench.directory);
    bench.shell(&format!("mkdir -p {0} && echo kept > {file}", bench.directory)).await;
    let forks = sandboxes.fork(&bench.id, 2, Some(Duration::from_secs(90))).await.unwrap();
    assert_eq!(forks.len(), 2);
    for fork in forks {
        let fork = fork.unwrap();
        assert_ne!(*fork.id(), bench.id);
        assert_eq!(fork.rules().active_timeout().as_secs(), 90);
        assert_eq!(read(&bench, fork.id(), &file).await, "kept\n");
        sandboxes.terminate(fork.id(), Duration::from_secs(30)).await.unwrap();
    }
    assert_eq!(sandboxes.snapshots().await.unwrap(), []);
    for count in [0, 101] {
        assert!(matches!(sandboxes.fork(&bench.id, count, None).await, Err(RequestError::Invalid { .. })), "{count}");
    }
    snapshots(&*subject.runtime()).clear().await.unwrap();
    bench.end().await;
}

async fn a_name_that_means_something_else_is_refused(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let sandboxes = bench.supervisor.sandboxes();
    for name in ["", "base", "no/slash", SnapshotId::generate().as_str()] {
        let request = SnapshotRequest { name: Some(name.to_owned()), passing: false };
        let refused = sandboxes.take_snapshot(&bench.id, request).await;
        assert!(matches!(refused, Err(RequestError::Invalid { .. })), "{name:?}: {refused:?}");
    }
    let id = bench.id.clone();
    bench.end().await;
    let gone = sandboxes.take_snapshot(&id, SnapshotRequest::default()).await;
    assert!(matches!(gone, Err(RequestError::Gone(_))), "{gone:?}");
}

/// The files of a snapshot come back only on a real engine, where the command of the sandbox is kept, too.
#[actix_web::test]
async fn a_sandbox_of_a_snapshot_runs_the_command_of_the_first() {
    let corner = crate::support::docker::Corner::new().await;
    let runtime = corner.runtime();
    let mut start = start();
    start.spec.command = shell("echo $GREETING; exec sleep 600");
    start.spec.env = [("GREETING".to_owned(), "hello".to_owned())].into();
    started(&runtime, &start).await;
    let taken = snapshot(&start);
    runtime.take(&by_labels(&start), &taken).await.unwrap();
    let mut second = self::start();
    (second.spec.image, second.spec.command) = (taken.image(), None);
    let id = started(&runtime, &second).await;
    let config = corner.inspect(&id).await.config.unwrap();
    assert_eq!(config.cmd.unwrap(), start.spec.command.unwrap());
    assert!(config.env.unwrap().contains(&"GREETING=hello".to_owned()));
    assert_eq!(runtime.discard(&taken.id).await, Ok(true));
    runtime.remove(&by_labels(&second)).await.unwrap();
    runtime.clear().await.unwrap();
}
