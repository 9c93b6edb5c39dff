//! The runtime port's contract, run over every adapter: in memory and against a real Docker daemon.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use sandglass::{
    domain::{
        OnTimeout, SandboxId,
        egress::Network,
        sandbox::{Container, RuleClock, Spelling},
        spec::{Readiness, StartSpec},
    },
    ports::runtime::{ContainerRef, Labels, Owner, RuntimeError, Start, StartProgress},
};
use tokio_util::sync::CancellationToken;

use crate::{
    engines::{Subject, laws, quiet, reference, started},
    support::docker::{by_id, by_labels, shell, start},
};

laws! {
    a_started_container_is_found_by_its_id_and_by_its_labels
    labels_tell_what_they_were_told
    pausing_and_resuming_twice_is_pausing_and_resuming_once
    a_removed_container_is_gone_and_removing_it_again_is_done
    a_paused_container_is_removed
    what_was_never_there_is_none_and_cannot_be_paused
    an_ended_container_tells_its_exit_code_and_is_removed
    a_foreign_container_of_that_id_is_left_alone
    another_sandboxs_container_is_foreign
    a_foreign_container_of_that_name_stops_the_start_and_lives_on
    a_left_over_of_the_same_sandbox_makes_way
    a_copy_of_a_sandboxs_container_is_never_found_by_its_labels
    a_record_tells_its_container_by_the_name
    the_reference_systems_container_is_ours_by_its_task_id_only
    a_start_that_is_cancelled_before_it_begins_makes_nothing
    a_start_that_is_cancelled_while_it_waits_leaves_what_a_removal_finds
}

async fn a_started_container_is_found_by_its_id_and_by_its_labels(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), Start { spec: with_port(8080), ..start() });
    let begun = runtime.start(&start, &CancellationToken::new(), &quiet).await.unwrap();
    assert_eq!(begun.base_url, Some(format!("http://{}", begun.ports["8080"])));
    for container in [by_id(&start, &begun.container_id), by_labels(&start)] {
        let found = runtime.inspect(&container).await.unwrap().expect("it is there");
        assert_eq!(found.state, Container::Running);
        assert_eq!(found.started, begun);
        assert_eq!((found.name, found.image), (start.name.clone(), Some(start.spec.image.clone())));
    }
    assert_eq!(runtime.check().await, Ok(()));
}

fn with_port(port: u16) -> StartSpec {
    StartSpec { ports: vec![port], ..start().spec }
}

async fn labels_tell_what_they_were_told(subject: &dyn Subject) {
    let seconds = Duration::from_secs;
    let full = Labels {
        created_at: Some(1_795_441_217.506_918),
        template: Some("base".to_owned()),
        rules: Spelling::new(Some(OnTimeout::Pause))
            .with(RuleClock::Idle, seconds(7200))
            .with(RuleClock::Active, Duration::from_millis(1_800_500))
            .with(RuleClock::Paused, seconds(60))
            .with(RuleClock::Heartbeat, seconds(30)),
        readiness: Some(Readiness::Http { port: 80, path: "/health?of=a:b".to_owned() }),
        ready_timeout: Some(Duration::from_millis(90_500)),
        wake: Some(false),
        public_traffic: true,
        mask_request_host: Some("localhost:${PORT}".to_owned()),
        asked: serde_json::from_str(r#"{"limits":{"cpus":0.5,"memory_mb":64},"ports":[80,8000]}"#).unwrap(),
        network: Some(Network::Isolated),
        egress: serde_json::from_str(r#"{"template":{"allow":["10.1.0.0/16"]},"request":{"deny":["::/0"]}}"#).unwrap(),
    };
    for labels in [
        full,
        Labels { rules: Spelling::default().with(RuleClock::Idle, None), ..Labels::default() },
        Labels::default(),
    ] {
        let (runtime, start) = (subject.runtime(), Start { labels: labels.clone(), ..start() });
        started(&*runtime, &start).await;
        assert_eq!(runtime.inspect(&by_labels(&start)).await.unwrap().unwrap().labels, labels);
    }
}

async fn pausing_and_resuming_twice_is_pausing_and_resuming_once(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    let id = started(&*runtime, &start).await;
    for container in [by_id(&start, &id), by_labels(&start)] {
        for _ in 0..2 {
            runtime.pause(&container).await.unwrap();
            assert_eq!(runtime.inspect(&container).await.unwrap().unwrap().state, Container::Paused);
        }
        for _ in 0..2 {
            runtime.resume(&container).await.unwrap();
            assert_eq!(runtime.inspect(&container).await.unwrap().unwrap().state, Container::Running);
        }
    }
}

async fn a_removed_container_is_gone_and_removing_it_again_is_done(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    let id = started(&*runtime, &start).await;
    for container in [by_id(&start, &id), by_labels(&start)] {
        runtime.remove(&container).await.unwrap();
        assert_eq!(runtime.inspect(&container).await, Ok(None));
        runtime.remove(&container).await.unwrap();
    }
    assert_eq!(subject.state(&id).await, None);
}

async fn a_paused_container_is_removed(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    let id = started(&*runtime, &start).await;
    runtime.pause(&by_id(&start, &id)).await.unwrap();
    runtime.remove(&by_id(&start, &id)).await.unwrap();
    assert_eq!(subject.state(&id).await, None);
}

async fn what_was_never_there_is_none_and_cannot_be_paused(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    for container in [by_id(&start, &"f".repeat(64)), by_labels(&start)] {
        assert_eq!(runtime.inspect(&container).await, Ok(None));
        assert!(matches!(runtime.pause(&container).await, Err(RuntimeError::Failed(_))));
        assert!(matches!(runtime.resume(&container).await, Err(RuntimeError::Failed(_))));
        assert_eq!(runtime.remove(&container).await, Ok(()));
    }
}

async fn an_ended_container_tells_its_exit_code_and_is_removed(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    let id = started(&*runtime, &start).await;
    subject.end(&start, &id).await;
    let container = by_id(&start, &id);
    let found = runtime.inspect(&container).await.unwrap().expect("an ended container is still there");
    assert!(matches!(found.state, Container::Stopped(Some(code)) if code != 0), "{:?}", found.state);
    assert!(matches!(runtime.pause(&container).await, Err(RuntimeError::Failed(_))));
    runtime.remove(&container).await.unwrap();
    assert_eq!(subject.state(&id).await, None);
}

async fn a_foreign_container_of_that_id_is_left_alone(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    let foreign = subject.put_foreign(&start.name).await;
    let container = by_id(&start, &foreign);
    assert_eq!(runtime.inspect(&container).await, Ok(None));
    for refusal in [runtime.pause(&container).await, runtime.resume(&container).await] {
        let Err(RuntimeError::Failed(message)) = refusal else { panic!("{refusal:?}") };
        assert!(message.contains("not ours"), "{message}");
    }
    assert_eq!(runtime.remove(&container).await, Ok(()));
    assert_eq!(subject.state(&foreign).await, Some(Container::Running));
}

async fn another_sandboxs_container_is_foreign(subject: &dyn Subject) {
    let (runtime, mine, other) = (subject.runtime(), start(), start());
    let id = started(&*runtime, &mine).await;
    assert_eq!(runtime.inspect(&by_id(&other, &id)).await, Ok(None));
    assert_eq!(runtime.remove(&by_id(&other, &id)).await, Ok(()));
    assert_eq!(subject.state(&id).await, Some(Container::Running));
}

async fn a_foreign_container_of_that_name_stops_the_start_and_lives_on(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    let foreign = subject.put_foreign(&start.name).await;
    let refusal = runtime.start(&start, &CancellationToken::new(), &quiet).await;
    let Err(RuntimeError::Failed(message)) = refusal else { panic!("{refusal:?}") };
    assert!(message.contains(&start.name), "{message}");
    assert_eq!(runtime.remove(&by_labels(&start)).await, Ok(()));
    assert_eq!(subject.state(&foreign).await, Some(Container::Running));
}

async fn a_left_over_of_the_same_sandbox_makes_way(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    let left_over = started(&*runtime, &start).await;
    let id = started(&*runtime, &start).await;
    assert_eq!(subject.state(&left_over).await, None);
    assert_eq!(runtime.inspect(&by_labels(&start)).await.unwrap().unwrap().started.container_id, id);
}

async fn a_copy_of_a_sandboxs_container_is_never_found_by_its_labels(subject: &dyn Subject) {
    let (runtime, start) = (subject.runtime(), start());
    let id = started(&*runtime, &start).await;
    let copy = subject.put_copy(&start, &format!("copy-{}", start.id)).await;
    let found = runtime.inspect(&by_labels(&start)).await.unwrap().expect("it is there");
    assert_eq!(found.started.container_id, id);
    runtime.remove(&by_labels(&start)).await.unwrap();
    assert_eq!((subject.state(&id).await, subject.state(&copy).await), (None, Some(Container::Running)));
    assert_eq!(runtime.inspect(&by_labels(&start)).await, Ok(None));
    assert!(runtime.pause(&by_labels(&start)).await.is_err());
    runtime.remove(&by_labels(&start)).await.unwrap();
    assert_eq!(subject.state(&copy).await, Some(Container::Running));
}

async fn a_record_tells_its_container_by_the_name(subject: &dyn Subject) {
    let (runtime, task_id) = (subject.runtime(), SandboxId::generate().to_string());
    let names = ["one", "two"].map(|name| format!("{name}-{task_id}"));
    let ids = [subject.put_reference(&names[0], &task_id).await, subject.put_reference(&names[1], &task_id).await];
    for (name, id) in names.iter().zip(&ids) {
        let container = ContainerRef { name: Some(name.clone()), ..reference(None, &task_id) };
        let found = runtime.inspect(&container).await.unwrap().expect("it is there");
        assert_eq!((&found.started.container_id, &found.name), (id, name));
    }
    let unknown = ContainerRef { name: Some(format!("three-{task_id}")), ..reference(None, &task_id) };
    assert_eq!(runtime.inspect(&unknown).await, Ok(None));
    assert_eq!(runtime.remove(&unknown).await, Ok(()));
    runtime.remove(&ContainerRef { name: Some(names[0].clone()), ..reference(None, &task_id) }).await.unwrap();
    assert_eq!((subject.state(&ids[0]).await, subject.state(&ids[1]).await), (None, Some(Container::Running)));
}

async fn the_reference_systems_container_is_ours_by_its_task_id_only(subject: &dyn Subject) {
    let runtime = subject.runtime();
    let (task_id, name) = (SandboxId::generate().to_string(), format!("reference-{}", SandboxId::generate()));
    let id = subject.put_reference(&name, &task_id).await;
    for container in
        [reference(Some(&id), "another"), ContainerRef { owner: Owner::Sandglass, ..reference(Some(&id), "") }]
    {
        assert_eq!(runtime.remove(&container).await, Ok(()));
        assert_eq!(subject.state(&id).await, Some(Container::Running));
    }
    let container = reference(None, &task_id);
    let found = runtime.inspect(&container).await.unwrap().expect("it is found by its labels");
    assert_eq!((found.started.container_id.as_str(), found.labels), (id.as_str(), Labels::default()));
    runtime.pause(&container).await.unwrap();
    runtime.remove(&reference(Some(&id), &task_id)).await.unwrap();
    assert_eq!(subject.state(&id).await, None);
}

async fn a_start_that_is_cancelled_before_it_begins_makes_nothing(subject: &dyn Subject) {
    let (runtime, start, cancel) = (subject.runtime(), start(), CancellationToken::new());
    cancel.cancel();
    assert_eq!(runtime.start(&start, &cancel, &quiet).await, Err(RuntimeError::Cancelled));
    assert_eq!(runtime.inspect(&by_labels(&start)).await, Ok(None));
}

async fn a_start_that_is_cancelled_while_it_waits_leaves_what_a_removal_finds(subject: &dyn Subject) {
    let (runtime, mut start, cancel) = (subject.runtime(), start(), CancellationToken::new());
    start.spec.command = shell("sleep infinity");
    subject.never_ready(&mut start.spec);
    let cancel_when_waiting = |step| {
        if step == StartProgress::WaitingForReadiness {
            cancel.cancel();
        }
    };
    assert_eq!(runtime.start(&start, &cancel, &cancel_when_waiting).await, Err(RuntimeError::Cancelled));
    let found = runtime.inspect(&by_labels(&start)).await.unwrap().expect("it was created");
    runtime.remove(&by_labels(&start)).await.unwrap();
    assert_eq!(subject.state(&found.started.container_id).await, None);
}
