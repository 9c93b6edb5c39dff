//! The status stream: what it tells, in which order, and to whom.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use sandglass::{
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
};
use serde_json::{Value, json};

use crate::{
    bench::{Bench, id},
    client::{Client, start},
    watcher::{Watcher, lasting},
};

async fn create(client: &Client, id: &str, idle_timeout: f64) {
    let body = json!({ "id": id, "idle_timeout": idle_timeout });
    client.post("/v1/sandboxes", body.to_string()).await.must_succeed(201);
}

async fn ping(client: &Client, id: &str) {
    client.post(&format!("/v1/sandboxes/{id}/activity"), "").await.must_succeed(200);
}

async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[actix_web::test]
async fn a_stream_greets_tells_what_is_there_and_then_everything_that_happens() {
    let (bench, client) = start(&[]).await;
    create(&client, "old", 7200.0).await;
    let watcher = Watcher::start(&bench.supervisor, "status=all");
    watcher.until("the snapshot", |known| known.sandboxes.contains_key("old")).await;
    {
        let known = watcher.known.borrow();
        let (hello, snapshot) = (&known.messages[0], &known.messages[1]);
        assert_eq!(
            (&hello["type"], &hello["resumed"], &hello["history"]),
            (&json!("hello"), &json!(false), &json!(16384))
        );
        assert_eq!(
            (&snapshot["first"], &snapshot["last"], &snapshot["seq"]),
            (&json!(true), &json!(true), &hello["seq"])
        );
    }
    create(&client, "new", 10.0).await;
    let appeared = watcher.until_told("appeared", "new").await;
    assert_eq!(appeared["sandbox"]["status"], "pending");
    let running = watcher.until_told("status", "new").await;
    assert_eq!((&running["from"], &running["sandbox"]["status"]), (&json!("pending"), &json!("running")));
    let progress = watcher.until_told("progress", "new").await;
    assert!(["starting", "waiting"].contains(&progress["progress"]["phase"].as_str().expect("a phase")));
    let removed = watcher.until_told("removed", "new").await;
    assert_eq!(removed["sandbox"]["reason"], "idle");
    let ended = watcher.known.borrow().last("status", "new").cloned().expect("told");
    assert_eq!((&ended["from"], &ended["sandbox"]["status"]), (&json!("running"), &json!("terminating")));
    // An hour later nothing is known of it, and whoever watches knows that.
    watcher.until_told("forgotten", "new").await;
    assert!(!watcher.known.borrow().sandboxes.contains_key("new"));
}

#[actix_web::test]
async fn a_moved_deadline_is_told_at_most_once_a_second_and_the_last_one_always() {
    let (bench, client) = start(&[]).await;
    create(&client, "used", 7200.0).await;
    let watcher = Watcher::start(&bench.supervisor, "");
    watcher.until("the snapshot", |known| known.sandboxes.contains_key("used")).await;
    for _ in 0..100 {
        ping(&client, "used").await;
        pass(0.05).await;
    }
    pass(2.0).await;
    let told = watcher.known.borrow().count("activity", "used");
    assert!((5..=7).contains(&told), "{told} times in five seconds");
    let last = client.get("/v1/sandboxes/used").await.json;
    assert_eq!(watcher.known.borrow().sandboxes["used"], lasting(&last));
    assert_eq!(watcher.known.borrow().last("activity", "used").expect("told")["source"], "ping");
}

#[actix_web::test]
async fn an_end_is_warned_of_in_time_to_ping_once_for_each_deadline() {
    let (bench, client) = start(&[]).await;
    let watcher = Watcher::start(&bench.supervisor, "");
    watcher.until("the snapshot", |known| known.messages.len() == 2).await;
    create(&client, "long", 600.0).await;
    create(&client, "short", 20.0).await;
    // Somebody who pings whenever it is warned keeps it for ever.
    for round in 1..=3 {
        watcher.until(&format!("warning {round}"), |known| known.count("expiring", "short") == round).await;
        let warning = watcher.known.borrow().last("expiring", "short").cloned().expect("told");
        let ahead =
            warning["sandbox"]["terminates_at"].as_f64().expect("a time") - warning["time"].as_f64().expect("a time");
        assert!((9.9..=10.1).contains(&ahead), "half of a short timeout ahead, not {ahead}");
        ping(&client, "short").await;
    }
    let warning = watcher.until_told("expiring", "long").await;
    let ahead = warning["sandbox"]["idle_remaining"].as_f64().expect("seconds");
    assert!((59.9..=60.1).contains(&ahead), "{ahead}");
    watcher.until_told("removed", "long").await;
    assert_eq!(watcher.known.borrow().count("expiring", "long"), 1);
}

#[actix_web::test]
async fn an_active_timeout_that_ends_it_is_warned_of_a_minute_ahead_however_often_it_is_used() {
    let (bench, client) = start(&[]).await;
    let watcher = Watcher::start(&bench.supervisor, "");
    let body = json!({ "id": "busy", "timeout": 600, "on_timeout": "terminate" });
    client.post("/v1/sandboxes", body.to_string()).await.must_succeed(201);
    for _ in 0..598 {
        ping(&client, "busy").await;
        pass(1.0).await;
    }
    let warning = watcher.until_told("expiring", "busy").await;
    let ahead = warning["sandbox"]["time_remaining"].as_f64().expect("seconds");
    assert!((59.0..=60.1).contains(&ahead), "{ahead}");
    watcher.until_told("removed", "busy").await;
    assert_eq!(watcher.known.borrow().count("expiring", "busy"), 1);
}

#[actix_web::test]
async fn heartbeats_move_a_deadline_which_is_told_and_are_nothing_to_warn_of() {
    let (bench, client) = start(&[("templates.base.heartbeat_timeout", "30")]).await;
    let watcher = Watcher::start(&bench.supervisor, "");
    create(&client, "alive", 7200.0).await;
    for _ in 0..100 {
        pass(10.0).await;
        client.post("/v1/sandboxes/alive/heartbeat", "").await.must_succeed(200);
    }
    pass(1.0).await;
    let truth = client.get("/v1/sandboxes/alive").await.json;
    assert_eq!(watcher.known.borrow().sandboxes["alive"], lasting(&truth));
    assert_eq!(watcher.known.borrow().count("expiring", "alive"), 0);
    assert!(watcher.known.borrow().count("changed", "alive") >= 99);
}

#[actix_web::test]
async fn a_pause_that_is_tried_again_and_again_is_warned_of_once() {
    let (bench, client) = start(&[]).await;
    let watcher = Watcher::start(&bench.supervisor, "");
    let body = json!({ "id": "stuck", "timeout": 300, "on_timeout": "pause" });
    client.post("/v1/sandboxes", body.to_string()).await.must_succeed(201);
    bench.runtime.fail_always(Point::Pause, When::Before, RuntimeError::Failed("device busy".into()));
    pass(900.0).await;
    assert!(bench.runtime.count(Point::Pause) > 10);
    assert_eq!(watcher.known.borrow().count("expiring", "stuck"), 1);
}

#[actix_web::test]
async fn a_tombstone_that_gives_way_to_a_new_sandbox_is_told_as_forgotten() {
    let (bench, client) = start(&[]).await;
    create(&client, "again", 7200.0).await;
    client.delete("/v1/sandboxes/again?wait=5").await.must_succeed(200);
    let ended = Watcher::start(&bench.supervisor, "status=terminated");
    ended.until("the tombstone", |known| known.sandboxes.contains_key("again")).await;
    create(&client, "again", 7200.0).await;
    ended.until_told("forgotten", "again").await;
    assert!(ended.known.borrow().sandboxes.is_empty());
}

#[actix_web::test]
async fn a_store_that_has_lost_its_data_is_no_news_of_any_sandbox() {
    let (bench, client) = start(&[]).await;
    create(&client, "quiet", 7200.0).await;
    let watcher = Watcher::start(&bench.supervisor, "");
    watcher.until("the snapshot", |known| known.messages.len() == 2).await;
    bench.store.wipe();
    pass(30.0).await;
    assert!(bench.store.record("quiet").is_some(), "it was written again");
    assert!(watcher.known.borrow().messages.iter().all(|message| message["type"] != "event"));
}

#[actix_web::test]
async fn a_sandbox_that_was_there_before_anybody_watched_is_warned_of_too() {
    let (bench, client) = start(&[]).await;
    create(&client, "quiet", 600.0).await;
    pass(100.0).await;
    let watcher = Watcher::start(&bench.supervisor, "");
    let warning = watcher.until_told("expiring", "quiet").await;
    let ahead = warning["sandbox"]["idle_remaining"].as_f64().expect("seconds");
    assert!((59.9..=60.1).contains(&ahead), "{ahead}");
}

#[actix_web::test]
async fn a_removal_that_fails_is_told_of_with_its_error() {
    let (bench, client) = start(&[]).await;
    let watcher = Watcher::start(&bench.supervisor, "");
    create(&client, "stuck", 5.0).await;
    bench.runtime.fail_always(Point::Remove, When::Before, RuntimeError::Failed("device busy".into()));
    let failed = watcher.until_told("removal_failed", "stuck").await;
    assert_eq!(failed["sandbox"]["error_message"], "device busy");
    bench.runtime.heal_all();
    watcher.until_told("removed", "stuck").await;
}

#[actix_web::test]
async fn a_filtered_stream_tells_only_what_is_wanted_and_when_that_leaves() {
    let (bench, client) = start(&[]).await;
    create(&client, "mine", 600.0).await;
    let body = json!({ "id": "team", "metadata": { "team": "blue" }, "idle_timeout": 600 }).to_string();
    client.post("/v1/sandboxes", body).await.must_succeed(201);
    let by_id = Watcher::start(&bench.supervisor, "id=mine");
    let by_team = Watcher::start(&bench.supervisor, "metadata.team=blue");
    let running = Watcher::start(&bench.supervisor, "status=running");
    running.until("both", |known| known.sandboxes.len() == 2).await;
    ping(&client, "mine").await;
    ping(&client, "team").await;
    client.post("/v1/sandboxes/mine/pause", "").await.must_succeed(200);
    // It is told that it left: its status is not running any more.
    let left = running.until_told("status", "mine").await;
    assert_eq!((&left["from"], &left["sandbox"]["status"]), (&json!("running"), &json!("paused")));
    by_id.until_told("status", "mine").await;
    by_team.until_told("activity", "team").await;
    pass(20.0).await;
    for (watcher, other) in [(&by_id, "team"), (&by_team, "mine")] {
        let known = watcher.known.borrow();
        assert!(known.messages.iter().all(|message| message["sandbox"]["sandbox_id"] != other));
    }
    // What the team's watcher was not told of, the pause of the other one, is behind it all the same.
    let told = by_team.known.borrow().messages.iter().filter_map(|message| message["seq"].as_u64()).max();
    assert_eq!(told, by_id.known.borrow().messages.iter().filter_map(|message| message["seq"].as_u64()).max());
}

#[actix_web::test]
async fn a_query_that_breaks_a_rule_is_refused_with_its_parameter() {
    let (_bench, client) = start(&[]).await;
    for (query, field) in [
        ("since=yesterday", "since"),
        ("since=abc:1&since=abc:2", "since"),
        ("status=sleeping", "status"),
        ("limit=5", "limit"),
        ("metadata.=x", "metadata."),
    ] {
        for path in ["/v1/events", "/v1/stream"] {
            let refused = client.get(&format!("{path}?{query}")).await;
            assert_eq!(refused.must_be(400, "invalid_request").field(), Some(field), "{query}");
        }
    }
    client.get("/v1/events?id=a/b").await.must_be(400, "invalid_id");
    let plain = client.get("/v1/stream").await;
    assert!(plain.must_be(400, "invalid_request").message().contains("/v1/events"), "{}", plain.text);
}

#[actix_web::test]
async fn there_are_no_more_streams_than_configured_and_the_metrics_show_them() {
    let (bench, client) = start(&[("http.max_streams", "2")]).await;
    let (one, other) = (Watcher::start(&bench.supervisor, ""), Watcher::start(&bench.supervisor, ""));
    for watcher in [&one, &other] {
        watcher.until("the snapshot", |known| known.messages.len() == 2).await;
    }
    assert!(client.get("/metrics").await.text.contains("sandglass_streams 2.0"));
    let refused = client.get("/v1/events").await;
    assert!(refused.must_be(429, "limit_reached").message().contains("http.max_streams"), "{}", refused.text);
    drop((one, other));
    pass(0.1).await;
    assert!(client.get("/metrics").await.text.contains("sandglass_streams 0.0"));
}

/// Something that happens in a busy run.
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
    /// A watcher loses its connection, and comes back.
    Reconnect(u8),
    /// A watcher loses its connection, and comes back only at the end.
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

/// What a watcher asks for, what a list has to be asked for to show the same, and whose ids that is.
type Wish = (&'static str, &'static str, &'static [&'static str]);

/// Among them one that takes everything, and some whose filters keep most from them.
const WISHES: [Wish; 6] = [
    ("status=all", "status=all", &[]),
    ("", "", &[]),
    ("status=running,paused", "status=running,paused", &[]),
    ("id=s0,s3", "", &["s0", "s3"]),
    ("status=all&id=s1", "status=all", &["s1"]),
    ("status=failed,terminated", "status=failed,terminated", &[]),
];

/// What the supervisor knows of it.
async fn truth(client: &Client, (_, query, ids): Wish) -> BTreeMap<String, Value> {
    let listed = client.get(&format!("/v1/sandboxes?{query}&limit=1000")).await;
    let sandboxes = listed.must_succeed(200).json["sandboxes"].as_array().expect("a list").iter().map(lasting);
    let named = sandboxes.map(|sandbox| (sandbox["sandbox_id"].as_str().expect("an id").to_owned(), sandbox));
    named.filter(|(id, _)| ids.is_empty() || ids.contains(&id.as_str())).collect()
}

async fn do_step(step: &Step, bench: &Bench, client: &Client) {
    let name = |which: &u8| format!("s{which}");
    // Whatever the answers are: what counts is that everybody knows the outcome.
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
    // A history that is short enough for watchers to fall out of it, and a retention that is over before the end.
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
        for _ in 0..60 {
            pass(0.1).await;
            let truth = truth(&client, wish).await;
            if watcher.known.borrow().sandboxes == truth {
                break;
            }
        }
        let known = watcher.known.borrow().sandboxes.clone();
        assert_eq!(known, truth(&client, wish).await, "{wish:?}: {:#?}", watcher.known.borrow().messages);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whoever_applies_snapshot_and_events_ends_with_what_the_supervisor_knows(steps in steps()) {
        actix_web::rt::System::new().block_on(everybody_knows_in_the_end(&steps));
    }
}
