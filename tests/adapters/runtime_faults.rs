//! Docker behind a bad connection: an engine that is down, answers that come late or never, and, in small, 1,000 removals at
//! once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{future::Future, time::Duration};

use futures_util::{
    StreamExt, TryStreamExt,
    future::{join_all, ready},
    stream::BoxStream,
};
use sandglass::{
    drill::{Fault, Relay},
    ports::runtime::{ContainerEvent, ContainerEventKind, Owner, Runtime, RuntimeError, Start, Started},
    runtime::docker::{Docker, Settings},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::docker::{Corner, answer_lost, by_labels, held, relay, relay_at, shell, start};

/// A bound for all waits, which take much less.
const BOUND: Duration = Duration::from_secs(30);

fn behind(relay: &Relay, corner: &Corner) -> Settings {
    Settings { host: Some(relay.docker_host()), ..corner.settings() }
}

async fn run(runtime: &Docker, start: &Start) -> Result<Started, RuntimeError> {
    runtime.start(start, &CancellationToken::new(), &|_| {}).await
}

/// Waits until the condition holds.
async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let holds = async {
        while !condition().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(BOUND, holds).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

#[tokio::test]
async fn an_engine_that_is_away_is_unreachable_and_is_found_when_it_comes() {
    let corner = Corner::new().await;
    // A port that was free a moment ago.
    let relay = relay(Fault::None).await;
    let (host, address) = (relay.docker_host(), relay.docker_host().trim_start_matches("tcp://").to_owned());
    drop(relay);
    let runtime = Docker::connect(Settings { host: Some(host), ..corner.settings() }).unwrap();
    let start = start();
    until("the port is closed", || async { matches!(runtime.check().await, Err(RuntimeError::Unreachable(_))) }).await;
    for refusal in [
        run(&runtime, &start).await.map(drop),
        runtime.inspect(&by_labels(&start)).await.map(drop),
        runtime.pause(&by_labels(&start)).await,
        runtime.remove(&by_labels(&start)).await,
        runtime.list().await.map(drop),
        runtime.events(None).next().await.expect("an error is told before the end").map(drop),
    ] {
        assert!(matches!(refusal, Err(RuntimeError::Unreachable(_))), "{refusal:?}");
    }
    let relay = relay_at(&address).await;
    assert_eq!(runtime.check().await, Ok(()));
    run(&runtime, &start).await.unwrap();
    assert_eq!(relay.count("/version"), 1, "the API version is agreed on once");
    drop(relay);
    until("the relay is gone", || async { runtime.check().await.is_err() }).await;
    let relay = relay_at(&address).await;
    assert_eq!(runtime.remove(&by_labels(&start)).await, Ok(()));
    assert_eq!(relay.count("/version"), 1, "and once more after a reconnect");
}

#[tokio::test]
async fn a_missing_socket_is_unreachable_and_no_error_of_connecting() {
    let corner = Corner::new().await;
    let host = Some("unix:///nowhere/docker.sock".to_owned());
    let runtime = Docker::connect(Settings { host, ..corner.settings() }).unwrap();
    let refusal = runtime.check().await.unwrap_err();
    assert!(matches!(&refusal, RuntimeError::Unreachable(why) if why.contains("/nowhere/docker.sock")), "{refusal}");
}

#[tokio::test]
async fn an_engine_that_does_not_answer_the_ping_is_unreachable() {
    let corner = Corner::new().await;
    for rule in ["/version", "/_ping"] {
        let relay = relay(held(rule)).await;
        let call_timeout = Duration::from_millis(200);
        let runtime = Docker::connect(Settings { call_timeout, ..behind(&relay, &corner) }).unwrap();
        assert!(matches!(runtime.check().await, Err(RuntimeError::Unreachable(_))));
    }
}

#[tokio::test]
async fn every_request_names_the_version_that_was_agreed_on() {
    let (corner, relay, start) = (Corner::new().await, relay(Fault::None).await, start());
    let runtime = Docker::connect(behind(&relay, &corner)).unwrap();
    run(&runtime, &start).await.unwrap();
    runtime.remove(&by_labels(&start)).await.unwrap();
    let (first, rest) = (&relay.seen()[0], &relay.seen()[1..]);
    assert!(first.contains(" /version "), "{first}");
    let version = corner.client.clone().negotiate_version().await.unwrap().client_version();
    assert!(!rest.is_empty() && rest.iter().all(|line| line.contains(&format!(" /v{version}/"))), "{rest:#?}");
}

#[tokio::test]
async fn a_create_that_is_answered_too_late_leaves_no_container_behind() {
    let (corner, start) = (Corner::new().await, start());
    let relay = relay(held("/containers/create")).await;
    let runtime = Docker::connect(Settings { call_timeout: Duration::from_millis(300), ..behind(&relay, &corner) });
    let runtime = runtime.unwrap();
    let refusal = run(&runtime, &start).await;
    assert!(matches!(refusal, Err(RuntimeError::Failed(_))), "{refusal:?}");
    assert_eq!(runtime.remove(&by_labels(&start)).await, Ok(()));
    relay.set(Fault::None);
    until("the late container is removed", || async { relay.count("DELETE") == 1 }).await;
    until("it is gone", || async { corner.containers().await.is_empty() }).await;
}

#[tokio::test]
async fn a_start_that_is_dropped_in_mid_create_leaves_no_container_behind() {
    let (corner, start) = (Corner::new().await, start());
    let relay = relay(held("/containers/create")).await;
    let runtime = Docker::connect(behind(&relay, &corner)).unwrap();
    tokio::select! {
        outcome = run(&runtime, &start) => panic!("{outcome:?}"),
        () = until("the create is on its way", || async { relay.count("/containers/create") == 1 }) => {}
    }
    relay.set(Fault::None);
    until("the container is removed", || async { relay.count("DELETE") == 1 }).await;
    until("it is gone", || async { corner.containers().await.is_empty() }).await;
}

#[tokio::test]
async fn cancelling_does_not_cut_a_create_in_half() {
    let (corner, start) = (Corner::new().await, start());
    let relay = relay(held("/containers/create")).await;
    let runtime = Docker::connect(behind(&relay, &corner)).unwrap();
    let cancel = CancellationToken::new();
    let (outcome, ()) = tokio::join!(runtime.start(&start, &cancel, &|_| {}), async {
        until("the create is on its way", || async { relay.count("/containers/create") == 1 }).await;
        cancel.cancel();
        relay.set(Fault::None);
    });
    assert_eq!(outcome, Err(RuntimeError::Cancelled));
    assert_eq!((corner.containers().await.len(), relay.count("/start")), (1, 0), "created, and not started");
    assert_eq!(runtime.remove(&by_labels(&start)).await, Ok(()));
    assert_eq!(corner.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_leaves_a_container_that_the_removal_finds() {
    let (corner, start) = (Corner::new().await, start());
    let relay = relay(answer_lost("/containers/create")).await;
    let runtime = Docker::connect(behind(&relay, &corner)).unwrap();
    let refusal = run(&runtime, &start).await;
    assert!(matches!(refusal, Err(RuntimeError::Unreachable(_))), "{refusal:?}");
    assert_eq!(corner.containers().await.len(), 1);
    assert_eq!(runtime.remove(&by_labels(&start)).await, Ok(()));
    assert_eq!(corner.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_can_be_tried_again() {
    let (corner, start) = (Corner::new().await, start());
    let relay = relay(answer_lost("DELETE")).await;
    let runtime = Docker::connect(behind(&relay, &corner)).unwrap();
    run(&runtime, &start).await.unwrap();
    let refusal = runtime.remove(&by_labels(&start)).await;
    assert!(matches!(refusal, Err(RuntimeError::Unreachable(_))), "{refusal:?}");
    assert_eq!(runtime.remove(&by_labels(&start)).await, Ok(()));
    assert_eq!(corner.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_container_that_ended_before_the_first_look_did_not_start() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.command = shell("echo no such table; exit 3");
    let relay = relay(held("/containers/*/json")).await;
    let runtime = Docker::connect(behind(&relay, &corner)).unwrap();
    let (outcome, ()) = tokio::join!(run(&runtime, &start), async {
        let ended = async || match corner.containers().await.first() {
            // An engine that is busy may list what it cannot show yet.
            Some(id) => match corner.client.inspect_container(id, None).await {
                Ok(found) => found.state.and_then(|state| state.exit_code) == Some(3),
                Err(_) => false,
            },
            None => false,
        };
        until("the container has ended", ended).await;
        relay.set(Fault::None);
    });
    let Err(RuntimeError::Failed(message)) = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("exit code 3") && message.contains("no such table"), "{message}");
}

#[tokio::test]
async fn a_pull_is_broken_off_when_it_is_cancelled_or_takes_too_long() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.image = "localhost:1/no/such-image".to_owned();
    let relay = relay(held("/images/create")).await;
    let pull_timeout = Duration::from_millis(200);
    let runtime = Docker::connect(Settings { pull_timeout, ..behind(&relay, &corner) }).unwrap();
    let outcome = run(&runtime, &start).await;
    let Err(RuntimeError::Failed(message)) = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("no/such-image:latest") && message.contains("200ms"), "{message}");

    let runtime = Docker::connect(behind(&relay, &corner)).unwrap();
    let cancel = CancellationToken::new();
    let (outcome, ()) = tokio::join!(runtime.start(&start, &cancel, &|_| {}), async {
        until("the pull is on its way", || async { relay.count("/images/create") == 2 }).await;
        cancel.cancel();
    });
    assert_eq!(outcome, Err(RuntimeError::Cancelled));
}

#[tokio::test]
async fn a_stop_that_hangs_ends_in_a_removal_by_force() {
    let (corner, start) = (Corner::new().await, start());
    let relay = relay(held("/stop")).await;
    let stop_grace = Duration::ZERO;
    let settings = Settings { call_timeout: Duration::from_secs(5), stop_grace, ..behind(&relay, &corner) };
    let runtime = Docker::connect(settings).unwrap();
    run(&runtime, &start).await.unwrap();
    assert_eq!(runtime.remove(&by_labels(&start)).await, Ok(()));
    assert_eq!(corner.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn removals_that_hang_leave_room_for_a_start_and_never_exceed_the_concurrency() {
    const CONCURRENCY: usize = 4;
    const LANE: usize = 3;
    let corner = Corner::new().await;
    let relay = relay(held("/stop")).await;
    let runtime = Docker::connect(Settings { concurrency: CONCURRENCY, ..behind(&relay, &corner) }).unwrap();
    let starts: Vec<Start> = (0..LANE + 2).map(|_| start()).collect();
    for outcome in join_all(starts.iter().map(|start| run(&runtime, start))).await {
        outcome.unwrap();
    }
    let containers: Vec<_> = starts.iter().map(by_labels).collect();
    let removals = join_all(containers.iter().map(|container| runtime.remove(container)));
    let meanwhile = async {
        until("the lane is full of stops", || async { relay.count("/stop") == LANE }).await;
        let one_more = start();
        timeout(BOUND, run(&runtime, &one_more)).await.expect("a start is not starved").unwrap();
        assert_eq!(relay.count("/stop"), LANE, "the other removals wait their turn");
        relay.set(Fault::None);
        runtime.remove(&by_labels(&one_more)).await.unwrap();
    };
    let (outcomes, ()) = tokio::join!(removals, meanwhile);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(corner.containers().await, Vec::<String>::new());
    assert!(relay.most_at_once() <= CONCURRENCY, "{} calls at once", relay.most_at_once());
}

#[tokio::test]
async fn a_list_that_is_half_lost_is_an_error() {
    let (corner, start) = (Corner::new().await, start());
    // The second request lists the reference system's containers.
    let relay = relay(answer_lost("executor_manager")).await;
    let runtime = Docker::connect(behind(&relay, &corner)).unwrap();
    run(&runtime, &start).await.unwrap();
    let refusal = runtime.list().await;
    assert!(matches!(refusal, Err(RuntimeError::Unreachable(_))), "{refusal:?}");
    assert_eq!(relay.count("/containers/json"), 2, "and nobody was looked at one by one");
}

#[tokio::test]
async fn events_may_be_silent_for_longer_than_a_call_may_take_and_take_no_permit() {
    let (corner, start, relay) = (Corner::new().await, start(), relay(Fault::None).await);
    let call_timeout = Duration::from_secs(1);
    let runtime = Docker::connect(Settings { call_timeout, concurrency: 2, ..behind(&relay, &corner) }).unwrap();
    // The reference system's containers may belong to other tests.
    let ours = |events: BoxStream<'static, Result<ContainerEvent, RuntimeError>>| {
        events.try_filter(|event| ready(event.container.owner == Owner::Sandglass)).boxed()
    };
    let mut streams: Vec<_> = (0..4).map(|_| ours(runtime.events(None))).collect();
    let silence = join_all(streams.iter_mut().map(|events| timeout(call_timeout * 4, events.next())));
    assert!(silence.await.iter().all(Result::is_err), "nothing happens, and nothing breaks");
    run(&Docker::connect(behind(&relay, &corner)).unwrap(), &start).await.unwrap();
    runtime.inspect(&by_labels(&start)).await.expect("there is a permit");
    for events in &mut streams {
        let event = timeout(BOUND, events.next()).await.expect("soon").expect("the stream lasts").unwrap();
        assert_eq!((event.container.sandbox, event.kind), (start.id.clone(), ContainerEventKind::Started));
    }
}

#[tokio::test]
async fn events_that_are_cut_off_are_told_so_and_can_be_resumed() {
    let (corner, start, relay) = (Corner::new().await, start(), relay(Fault::None).await);
    let address = relay.docker_host().trim_start_matches("tcp://").to_owned();
    let runtime = Docker::connect(behind(&relay, &corner)).unwrap();
    run(&runtime, &start).await.unwrap();
    let mut events = runtime.events(Some(0.0));
    let seen = loop {
        let event = timeout(BOUND, events.next()).await.expect("soon").expect("the stream lasts").unwrap();
        if event.container.sandbox == start.id {
            break event;
        }
    };
    drop(relay);
    // Earlier events still come first.
    let cut = timeout(BOUND, events.skip_while(|item| ready(item.is_ok())).next()).await.expect("soon");
    assert!(matches!(cut, None | Some(Err(RuntimeError::Unreachable(_)))), "{cut:?}");
    let _relay = relay_at(&address).await;
    let first = timeout(BOUND, runtime.events(Some(seen.at)).next()).await.expect("soon");
    assert!(first.is_some_and(|first| first.is_ok_and(|first| first.at >= seen.at)));
}

#[tokio::test]
async fn events_that_never_begin_are_an_error_in_time() {
    let corner = Corner::new().await;
    let relay = relay(held("/events")).await;
    let call_timeout = Duration::from_millis(200);
    let runtime = Docker::connect(Settings { call_timeout, ..behind(&relay, &corner) }).unwrap();
    let mut events = runtime.events(None);
    let refusal = timeout(BOUND, events.next()).await.expect("in time");
    assert!(matches!(refusal, Some(Err(RuntimeError::Failed(_)))), "{refusal:?}");
    assert_eq!(events.next().await, None);
}
