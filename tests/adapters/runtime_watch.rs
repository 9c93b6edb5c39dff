//! The rest of the runtime port's contract, run over every adapter: which containers exist, and what happens to
//! them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use futures_util::{StreamExt, stream::BoxStream};
use sandglass::{
    clock::wall_seconds,
    domain::{
        OnTimeout, SandboxId,
        sandbox::{Container, RuleClock, Spelling},
    },
    ports::runtime::{
        ContainerEvent, ContainerEventKind as Kind, ContainerRef, EndAccount, Labels, Listed, Owner, Runtime,
        RuntimeError, Start, Stranger,
    },
};

use crate::{
    engines::{Subject, laws, reference, started},
    support::docker::{by_id, by_labels, start},
};

laws! {
    everything_of_ours_is_listed_whatever_it_does
    the_reference_systems_containers_are_listed_under_their_task_id
    what_is_not_ours_is_not_listed
    a_copy_is_listed_and_told_as_a_copy
    an_end_is_told_with_its_exit_code
    freezing_and_thawing_are_told
    a_removal_is_told_and_nothing_after_it
    what_happens_to_the_reference_systems_containers_is_told
    what_happens_to_foreign_containers_is_not_told
    who_resumes_at_an_events_time_sees_it_again_and_all_that_followed
    without_a_time_nothing_of_before_is_told
    running_out_of_memory_is_told_and_stays_to_be_seen
    an_engine_that_stays_up_accounts_for_every_end
    what_has_stopped_is_started_again_and_frozen_if_it_shall_be
}

type Events = BoxStream<'static, Result<ContainerEvent, RuntimeError>>;

/// The next event of the sandbox; skips those of other tests' containers.
async fn next(events: &mut Events, start: &Start) -> ContainerEvent {
    loop {
        let event = events.next().await.expect("the stream lasts").expect("the stream works");
        if event.container.sandbox == start.id {
            return event;
        }
    }
}

/// The sandbox's events up to the first of this kind.
async fn until(events: &mut Events, start: &Start, last: impl Fn(Kind) -> bool) -> Vec<Kind> {
    let mut kinds = Vec::new();
    while !kinds.last().is_some_and(|kind| last(*kind)) {
        kinds.push(next(events, start).await.kind);
    }
    kinds
}

fn is_end(kind: Kind) -> bool {
    matches!(kind, Kind::Died { .. })
}

async fn listed(runtime: &dyn Runtime, container_id: &str) -> Option<Listed> {
    let mut all = runtime.list().await.expect("the engine lists").into_iter();
    all.find(|listed| listed.container.container_id.as_deref() == Some(container_id))
}

async fn everything_of_ours_is_listed_whatever_it_does(subject: &dyn Subject) {
    let (runtime, before) = (subject.runtime(), wall_seconds());
    let labels = Labels {
        created_at: Some(1_795_441_217.506_918),
        template: Some("base".to_owned()),
        rules: Spelling::new(Some(OnTimeout::Pause))
            .with(RuleClock::Idle, None)
            .with(RuleClock::Active, Duration::from_millis(1500))
            .with(RuleClock::Paused, Duration::from_secs(60)),
        readiness: Some(sandglass::domain::spec::Readiness::Tcp(80)),
        ..Labels::default()
    };
    let starts = [Start { labels, ..start() }, start(), start(), start()];
    let [running, paused, ended, created] = &starts;
    let ids = [
        started(&*runtime, running).await,
        started(&*runtime, paused).await,
        started(&*runtime, ended).await,
        subject.put_created(created).await,
    ];
    runtime.pause(&by_labels(paused)).await.unwrap();
    subject.end(ended, &ids[2]).await;
    let stopped = Container::Stopped(None);
    let states = [Container::Running, Container::Paused, stopped, stopped];
    for ((start, id), state) in starts.iter().zip(&ids).zip(states) {
        let found = listed(&*runtime, id).await.expect("it is listed");
        // An engine may show whole seconds only.
        assert!(before.floor() <= found.created_at && found.created_at <= wall_seconds(), "{}", found.created_at);
        let expected = Listed {
            container: by_id(start, id),
            state,
            name: start.name.clone(),
            image: Some(start.spec.image.clone()),
            labels: start.labels.clone(),
            ports: [].into(),
            created_at: found.created_at,
            stranger: None,
        };
        assert_eq!(found, expected);
    }
    let ours = runtime.list().await.unwrap().into_iter().filter(|listed| listed.container.owner == Owner::Sandglass);
    assert_eq!(ours.count(), ids.len());
    runtime.remove(&by_labels(&starts[0])).await.unwrap();
    assert_eq!(listed(&*runtime, &ids[0]).await, None);
}

/// A start of the sandbox that the reference system's container with this task id stands for.
fn of_task(task_id: &str) -> Start {
    Start { id: SandboxId::parse(task_id).unwrap(), ..start() }
}

fn fresh_reference() -> (String, String) {
    (SandboxId::generate().to_string(), format!("reference-{}", SandboxId::generate()))
}

async fn the_reference_systems_containers_are_listed_under_their_task_id(subject: &dyn Subject) {
    let (runtime, (task_id, name)) = (subject.runtime(), fresh_reference());
    let id = subject.put_reference(&name, &task_id).await;
    let found = listed(&*runtime, &id).await.expect("it is listed");
    let container = ContainerRef { sandbox: of_task(&task_id).id, ..reference(Some(&id), &task_id) };
    assert_eq!((found.container, found.name), (container.clone(), name));
    assert_eq!((found.state, found.labels), (Container::Running, Labels::default()));
    runtime.remove(&container).await.unwrap();
    assert_eq!(listed(&*runtime, &id).await, None);
}

async fn what_is_not_ours_is_not_listed(subject: &dyn Subject) {
    let (runtime, one, two) = (subject.runtime(), start(), start());
    let ids = [
        subject.put_foreign(&one.name).await,
        subject.put_others(&two).await,
        subject.put_reference(&format!("reference-{}", SandboxId::generate()), "no sandbox/id").await,
    ];
    for id in ids {
        assert_eq!(listed(&*runtime, &id).await, None);
    }
    assert!(!runtime.list().await.unwrap().iter().any(|listed| listed.container.owner == Owner::Sandglass));
}

async fn a_copy_is_listed_and_told_as_a_copy(subject: &dyn Subject) {
    let (runtime, start, before) = (subject.runtime(), start(), wall_seconds());
    let id = started(&*runtime, &start).await;
    let copy = subject.put_copy(&start, &format!("copy-{}", start.id)).await;
    for (id, stranger) in [(&id, None), (&copy, Some(Stranger::Copy))] {
        assert_eq!(listed(&*runtime, id).await.expect("it is listed").stranger, stranger);
    }
    let mut events = runtime.events(Some(before));
    for (id, stranger) in [(&id, None), (&copy, Some(Stranger::Copy))] {
        let event = next(&mut events, &start).await;
        assert_eq!(
            (event.kind, event.container.container_id.as_ref(), event.stranger),
            (Kind::Started, Some(id), stranger)
        );
    }
}

async fn an_end_is_told_with_its_exit_code(subject: &dyn Subject) {
    let (runtime, before) = (subject.runtime(), wall_seconds());
    for code in [0, 3] {
        let (start, mut events) = (start(), runtime.events(Some(before)));
        subject.run_to_exit(&start, code).await;
        let died = Kind::Died { exit_code: Some(code) };
        assert_eq!(until(&mut events, &start, is_end).await, [Kind::Started, died]);
        let found = runtime.inspect(&by_labels(&start)).await.unwrap().expect("it is still there");
        assert_eq!((found.state, found.oom_killed), (Container::Stopped(Some(code)), false));
    }
}

async fn freezing_and_thawing_are_told(subject: &dyn Subject) {
    let (runtime, start, before) = (subject.runtime(), start(), wall_seconds());
    let id = started(&*runtime, &start).await;
    runtime.pause(&by_labels(&start)).await.unwrap();
    runtime.pause(&by_labels(&start)).await.unwrap();
    runtime.resume(&by_labels(&start)).await.unwrap();
    let after = wall_seconds();
    let mut events = runtime.events(Some(before));
    for kind in [Kind::Started, Kind::Paused, Kind::Unpaused] {
        let event = next(&mut events, &start).await;
        assert_eq!((event.kind, event.container), (kind, by_id(&start, &id)));
        assert!(before <= event.at && event.at <= after, "{before} <= {} <= {after}", event.at);
    }
}

async fn a_removal_is_told_and_nothing_after_it(subject: &dyn Subject) {
    let (runtime, start, before) = (subject.runtime(), start(), wall_seconds());
    started(&*runtime, &start).await;
    runtime.remove(&by_labels(&start)).await.unwrap();
    let mut events = runtime.events(Some(before));
    let kinds = until(&mut events, &start, |kind| kind == Kind::Destroyed).await;
    assert!(matches!(kinds[..], [Kind::Started, Kind::Died { .. }, Kind::Destroyed]), "{kinds:?}");
    let frozen = crate::support::docker::start();
    started(&*runtime, &frozen).await;
    runtime.pause(&by_labels(&frozen)).await.unwrap();
    runtime.remove(&by_labels(&frozen)).await.unwrap();
    let kinds = until(&mut events, &frozen, |kind| kind == Kind::Destroyed).await;
    // An engine may thaw it to kill it.
    assert!(kinds.starts_with(&[Kind::Started, Kind::Paused]) && kinds.iter().any(|kind| is_end(*kind)), "{kinds:?}");
}

async fn what_happens_to_the_reference_systems_containers_is_told(subject: &dyn Subject) {
    let (runtime, (task_id, name), before) = (subject.runtime(), fresh_reference(), wall_seconds());
    let (start, mut events) = (of_task(&task_id), runtime.events(Some(before)));
    let id = subject.put_reference(&name, &task_id).await;
    let container = ContainerRef { sandbox: start.id.clone(), ..reference(Some(&id), &task_id) };
    let event = next(&mut events, &start).await;
    assert_eq!((event.kind, &event.container), (Kind::Started, &container));
    runtime.remove(&container).await.unwrap();
    assert_eq!(until(&mut events, &start, |kind| kind == Kind::Destroyed).await.len(), 2, "an end, and the removal");
}

async fn what_happens_to_foreign_containers_is_not_told(subject: &dyn Subject) {
    let (runtime, before) = (subject.runtime(), wall_seconds());
    let (foreign, others, start) = (start(), start(), start());
    let ids = [subject.put_foreign(&foreign.name).await, subject.put_others(&others).await];
    started(&*runtime, &start).await;
    let mut events = runtime.events(Some(before));
    loop {
        let event = events.next().await.expect("the stream lasts").expect("the stream works");
        assert!(!ids.contains(&event.container.container_id.unwrap()));
        // This container comes last.
        if event.container.sandbox == start.id {
            break;
        }
    }
}

async fn who_resumes_at_an_events_time_sees_it_again_and_all_that_followed(subject: &dyn Subject) {
    let (runtime, start, before) = (subject.runtime(), start(), wall_seconds());
    let mut events = runtime.events(Some(before));
    let id = started(&*runtime, &start).await;
    runtime.pause(&by_labels(&start)).await.unwrap();
    assert_eq!(next(&mut events, &start).await.kind, Kind::Started);
    let seen = next(&mut events, &start).await;
    assert_eq!(seen.kind, Kind::Paused);
    drop(events);
    runtime.resume(&by_labels(&start)).await.unwrap();
    subject.end(&start, &id).await;
    let mut resumed = runtime.events(Some(seen.at));
    assert_eq!(next(&mut resumed, &start).await, seen);
    let kinds = until(&mut resumed, &start, is_end).await;
    assert!(matches!(kinds[..], [Kind::Unpaused, Kind::Died { exit_code: Some(1..) }]), "{kinds:?}");
}

async fn without_a_time_nothing_of_before_is_told(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    started(&*runtime, &start).await;
    let mut events = runtime.events(None);
    let container = by_labels(&start);
    // The stream does not say when it is connected, so cause events until one arrives.
    let busy = async {
        loop {
            runtime.pause(&container).await.unwrap();
            runtime.resume(&container).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let first = tokio::select! {
        event = next(&mut events, &start) => event.kind,
        () = busy => unreachable!("it is busy for ever"),
    };
    assert!(matches!(first, Kind::Paused | Kind::Unpaused), "{first:?}");
}

async fn running_out_of_memory_is_told_and_stays_to_be_seen(subject: &dyn Subject) {
    let (runtime, start, before) = (subject.runtime(), start(), wall_seconds());
    let mut events = runtime.events(Some(before));
    subject.run_out_of_memory(&start).await;
    // Engines send the two events in either order.
    let mut kinds = vec![next(&mut events, &start).await.kind];
    for _ in 0..2 {
        kinds.push(next(&mut events, &start).await.kind);
    }
    assert_eq!(kinds[0], Kind::Started);
    assert!(kinds.contains(&Kind::OutOfMemory) && kinds.contains(&Kind::Died { exit_code: Some(137) }), "{kinds:?}");
    let found = runtime.inspect(&by_labels(&start)).await.unwrap().expect("it is still there");
    assert_eq!((found.state, found.oom_killed), (Container::Stopped(Some(137)), true));
}

async fn an_engine_that_stays_up_accounts_for_every_end(subject: &dyn Subject) {
    let (runtime, by_itself, by_hand, greedy) = (subject.runtime(), start(), start(), start());
    subject.run_to_exit(&by_itself, 3).await;
    let id = started(&*runtime, &by_hand).await;
    subject.end(&by_hand, &id).await;
    subject.run_out_of_memory(&greedy).await;
    wait_for_the_end(&*runtime, &greedy).await;
    let accounts = futures_util::future::join_all([&by_itself, &by_hand, &greedy].map(|start| {
        let (runtime, container) = (runtime.clone(), by_labels(start));
        async move { runtime.account_of_end(&container).await }
    }));
    let told: Vec<_> = accounts.await.iter().map(|account| (account.stayed_up, account.out_of_memory)).collect();
    assert_eq!(told, [(true, false), (true, false), (true, true)]);
    assert_eq!(runtime.account_of_end(&by_labels(&start())).await, EndAccount::default(), "there is no such container");
}

async fn what_has_stopped_is_started_again_and_frozen_if_it_shall_be(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    let container = by_labels(&start);
    let id = started(&*runtime, &start).await;
    for (frozen, state) in [(false, Container::Running), (true, Container::Paused)] {
        subject.end(&start, &id).await;
        for _ in 0..2 {
            let started = runtime.restart(&container, frozen).await.unwrap().expect("it is there");
            assert_eq!((&started.container_id, subject.state(&id).await), (&id, Some(state)));
        }
        runtime.resume(&container).await.unwrap();
    }
    runtime.remove(&container).await.unwrap();
    assert_eq!(runtime.restart(&container, false).await, Ok(None));
}

/// Waits until the sandbox's container has ended, for at most ten seconds.
async fn wait_for_the_end(runtime: &dyn Runtime, start: &Start) {
    for _ in 0..200 {
        let found = runtime.inspect(&by_labels(start)).await.unwrap();
        if found.is_some_and(|found| matches!(found.state, Container::Stopped(Some(_)))) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it has not ended");
}
