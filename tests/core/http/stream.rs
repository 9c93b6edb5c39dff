//! The status stream: its events, their order, and its filters.

use std::time::Duration;

use sandglass::{
    ports::runtime::RuntimeError,
    runtime::memory::{Point, When},
};
use serde_json::json;

use super::{
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

pub(crate) async fn pass(seconds: f64) {
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
    // An hour later the sandbox is forgotten, and watchers are told.
    watcher.until_told("forgotten", "new").await;
    assert!(!watcher.known.borrow().sandboxes.contains_key("new"));
}

#[actix_web::test]
async fn a_restart_of_the_engine_is_told_with_the_ports_of_now() {
    let (bench, client) = start(&[("templates.base.ports", "[80]")]).await;
    create(&client, "w", 7200.0).await;
    let watcher = Watcher::start(&bench.supervisor, "");
    watcher.until("the snapshot", |known| known.sandboxes.contains_key("w")).await;
    let before = watcher.known.borrow().sandboxes["w"]["base_url"].clone();
    bench.runtime.engine_dies();
    pass(2.0).await;
    bench.runtime.engine_starts(false);
    let restarted = watcher.until_told("restarted", "w").await;
    let sandbox = &restarted["sandbox"];
    assert_eq!((&sandbox["status"], sandbox["base_url"] == before), (&json!("running"), false), "{restarted}");
    let known = watcher.known.borrow();
    assert_eq!((known.count("restarted", "w"), known.count("status", "w")), (1, 0), "it ran all the time");
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
    // A client that pings at each warning keeps the sandbox.
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
    // The watcher is told that the sandbox is no longer running.
    let left = running.until_told("status", "mine").await;
    assert_eq!((&left["from"], &left["sandbox"]["status"]), (&json!("running"), &json!("paused")));
    by_id.until_told("status", "mine").await;
    by_team.until_told("activity", "team").await;
    pass(20.0).await;
    for (watcher, other) in [(&by_id, "team"), (&by_team, "mine")] {
        let known = watcher.known.borrow();
        assert!(known.messages.iter().all(|message| message["sandbox"]["sandbox_id"] != other));
    }
    // The watcher's position is also behind the event that its filter left out.
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
