//! The laws of the status stream, over random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sandglass::{
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
};
use serde_json::{Value, json};

use super::{
    bench::{Bench, id},
    client::{Client, start},
    stream::pass,
    watcher::{Watcher, lasting},
};

/// An event of a random history.
#[derive(Clone, Debug)]
enum Step {
    Create(u8, u16),
    Ping(u8),
    KeepAlive(u8, u16),
    Pause(u8),
    Resume(u8),
    Terminate(u8),
    Exit(u8, i64),
    Vanish(u8),
    Heartbeat(u8),
    PausesFail(bool),
    Passes(u32),
    RemovalsFail(bool),
    WallClockSet(i64),
    /// A watcher loses its connection and reconnects.
    Reconnect(u8),
    /// A watcher loses its connection and reconnects only at the end.
    StaysAway(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..6_u8;
    let step = prop_oneof![
        3 => (which.clone(), 1..40_u16).prop_map(|(which, idle)| Step::Create(which, idle)),
        6 => which.clone().prop_map(Step::Ping),
        2 => (which.clone(), 1..100_u16).prop_map(|(which, timeout)| Step::KeepAlive(which, timeout)),
        1 => which.clone().prop_map(Step::Pause),
        1 => which.clone().prop_map(Step::Resume),
        1 => which.clone().prop_map(Step::Terminate),
        1 => (which.clone(), 0..2_i64).prop_map(|(which, code)| Step::Exit(which, code)),
        1 => which.prop_map(Step::Vanish),
        2 => (0..6_u8).prop_map(Step::Heartbeat),
        1 => any::<bool>().prop_map(Step::PausesFail),
        8 => (0..20_000_u32).prop_map(Step::Passes),
        1 => any::<bool>().prop_map(Step::RemovalsFail),
        1 => (-4000..4000_i64).prop_map(Step::WallClockSet),
        4 => (0..6_u8).prop_map(Step::Reconnect),
        1 => (0..6_u8).prop_map(Step::StaysAway),
    ];
    proptest::collection::vec(step, 1..70)
}

/// A watcher's filter, the list's query with the same filter, and a predicate of the same ids.
type Wish = (&'static str, &'static str, &'static [&'static str]);

/// One watcher without a filter, and some whose filters leave most out.
const WISHES: [Wish; 6] = [
    ("status=all", "status=all", &[]),
    ("", "", &[]),
    ("status=running,paused", "status=running,paused", &[]),
    ("id=s0,s3", "", &["s0", "s3"]),
    ("status=all&id=s1", "status=all", &["s1"]),
    ("status=failed,terminated", "status=failed,terminated", &[]),
];

/// The supervisor's current list.
async fn truth(client: &Client, (_, query, ids): Wish) -> BTreeMap<String, Value> {
    let listed = client.get(&format!("/v1/sandboxes?{query}&limit=1000")).await;
    let sandboxes = listed.must_succeed(200).json["sandboxes"].as_array().expect("a list").iter().map(lasting);
    let named = sandboxes.map(|sandbox| (sandbox["sandbox_id"].as_str().expect("an id").to_owned(), sandbox));
    named.filter(|(id, _)| ids.is_empty() || ids.contains(&id.as_str())).collect()
}

async fn do_step(step: &Step, bench: &Bench, client: &Client) {
    let name = |which: &u8| format!("s{which}");
    // The answers do not matter, only that all watchers learn the outcome.
    let post = async |which: &u8, call: &str, body: String| {
        client.post(&format!("/v1/sandboxes/{}/{call}", name(which)), body).await;
    };
    match step {
        Step::Create(which, idle) => {
            let on_timeout = ["deactivate", "terminate", "pause"][usize::from(*which) % 3];
            let body =
                json!({ "id": name(which), "idle_timeout": idle, "on_timeout": on_timeout, "timeout": 2 * idle });
            client.post("/v1/sandboxes?wait=0", body.to_string()).await;
        }
        Step::Ping(which) => post(which, "activity", String::new()).await,
        Step::KeepAlive(which, timeout) => post(which, "keep-alive", json!({ "timeout": timeout }).to_string()).await,
        Step::Pause(which) => post(which, "pause", String::new()).await,
        Step::Resume(which) => post(which, "resume", String::new()).await,
        Step::Terminate(which) => drop(client.delete(&format!("/v1/sandboxes/{}", name(which))).await),
        Step::Exit(which, code) => drop(bench.runtime.exit(&id(&name(which)), *code)),
        Step::Vanish(which) => drop(bench.runtime.vanish(&id(&name(which)))),
        Step::Passes(millis) => pass(f64::from(*millis) / 1000.0).await,
        Step::RemovalsFail(true) => {
            bench.runtime.fail_always(Point::Remove, When::Before, RuntimeError::Failed("device busy".into()));
        }
        Step::RemovalsFail(false) => bench.runtime.heal(Point::Remove),
        Step::PausesFail(true) => {
            bench.runtime.fail_always(Point::Pause, When::Before, RuntimeError::Failed("device busy".into()));
        }
        Step::PausesFail(false) => bench.runtime.heal(Point::Pause),
        Step::Heartbeat(which) => post(which, "heartbeat", String::new()).await,
        Step::WallClockSet(seconds) => bench.set_wall_clock(*seconds),
        Step::Reconnect(_) | Step::StaysAway(_) => {}
    }
}

async fn everybody_knows_in_the_end(steps: &[Step]) {
    // A history so short that watchers fall behind it, and a retention that ends before the test does.
    let (bench, client) = start(&[
        ("http.stream_history", "16"),
        ("lifecycle.retention", "40"),
        ("templates.base.heartbeat_timeout", "60"),
    ])
    .await;
    let mut watchers = WISHES.map(|(query, _, _)| Watcher::start(&bench.supervisor, query));
    for step in steps {
        do_step(step, &bench, &client).await;
        match step {
            Step::Reconnect(which) => watchers[usize::from(*which)].reconnect(&bench.supervisor),
            Step::StaysAway(which) => watchers[usize::from(*which)].disconnect(),
            _ => {}
        }
    }
    for (watcher, wish) in watchers.iter_mut().zip(WISHES) {
        if watcher.is_away() {
            watcher.reconnect(&bench.supervisor);
        }
        // Moved deadlines are told within a second, and a clock that was set is noticed within one; an end of retention,
        // within a tenth of it.
        let (mut known, mut told) = (BTreeMap::default(), BTreeMap::default());
        for _ in 0..60 {
            pass(0.1).await;
            // One moment is compared: by the next look, another sandbox may have ended.
            told = truth(&client, wish).await;
            known = watcher.known.borrow().sandboxes.clone();
            if known == told {
                break;
            }
        }
        assert_eq!(known, told, "{wish:?}: {:#?}", watcher.known.borrow().messages);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whoever_applies_snapshot_and_events_ends_with_what_the_supervisor_knows(steps in steps()) {
        actix_web::rt::System::new().block_on(everybody_knows_in_the_end(&steps));
    }
}
