//! The real binary on real Docker and real Redis, as users run it.

mod clients;
mod copies;
mod cp;
mod in_a_container;
mod kills;
mod logs;
mod open_files;
mod registry;
mod terminal;
mod two_supervisors;
mod work;
mod work_limits;

use std::{collections::BTreeMap, time::Duration};

use nix::sys::signal::Signal;
use redis::Commands;
use sandglass::domain::{SandboxId, name::container_name};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::{
    docker::Corner,
    fixtures::Fixtures,
    program::{Program, command},
    redis::RedisServer,
};

const STOP_GRACE: Duration = Duration::from_secs(1);
/// How much longer a busy machine may take.
const SLACK: Duration = Duration::from_secs(5);

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory of the test's own")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Runs on Redis, under the corner's prefix.
async fn on_redis(directory: &TempDir, redis: &RedisServer, corner: &Corner, more: &[&str]) -> Program {
    let url = redis.url();
    let mut arguments = vec!["--redis-url", url.as_str(), "--prefix", corner.prefix.as_str()];
    arguments.extend(more);
    Program::serve(directory.path(), &arguments).await
}

/// Runs on a file in `directory`.
async fn on_a_file(directory: &TempDir, corner: &Corner, more: &[&str]) -> Program {
    let mut arguments = vec!["--prefix", corner.prefix.as_str()];
    arguments.extend(more);
    Program::serve(directory.path(), &arguments).await
}

#[tokio::test]
async fn a_passed_active_timeout_deactivates_until_keep_alive_and_ends_only_where_that_is_the_rule() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let stays = json!({"id": "stays", "timeout": 1, "idle_timeout": 600});
    let ends = json!({"id": "ends", "timeout": 1, "idle_timeout": 600, "on_timeout": "terminate"});
    let pauses = json!({"id": "pauses", "timeout": 1, "idle_timeout": 600, "on_timeout": "pause"});
    tokio::join!(program.create(&stays), program.create(&ends), program.create(&pauses));
    let ended = program.until("ends", "terminated", STOP_GRACE + SLACK).await;
    assert_eq!(ended["reason"], "expired");
    program.until("pauses", "paused", SLACK).await;
    let ping = program.post("/v1/sandboxes/stays/activity", &Value::Null).await;
    assert_eq!((ping.status, &ping.body["active"]), (200, &json!(false)));
    let seen = program.get("/v1/sandboxes/stays").await.body;
    assert_eq!((&seen["status"], &seen["active"]), (&json!("running"), &json!(false)));
    let kept = program.post("/v1/sandboxes/stays/keep-alive", &json!({"timeout": 60})).await;
    assert_eq!((kept.status, &kept.body["active"]), (200, &json!(true)));
    let resumed = program.post("/v1/sandboxes/pauses/resume", &Value::Null).await;
    assert_eq!((resumed.status, &resumed.body["status"]), (200, &json!("running")));
}

/// A record of a running sandbox without a container, for tests that do not need the engine.
fn record(id: &str, now: f64, idle_timeout: f64) -> String {
    json!({
        "sandbox_id": id, "container_name": format!("sandglass-{id}"), "base_url": null, "status": "running",
        "error_message": null, "created_at": now, "started_at": now, "last_activity_at": now,
        "expires_at": now + 3600.0, "shell_type": null, "user_id": 7, "user_name": "u", "executor_namespace": null,
        "metadata": {"n": id}, "v": 1, "idle_timeout": idle_timeout, "active_timeout": 3600.0,
        "on_timeout": "deactivate", "kept": {"big": 123456789012345678901234567890_u128.to_string()},
    })
    .to_string()
}

fn wall_clock() -> f64 {
    sandglass::clock::wall_seconds()
}

#[tokio::test]
async fn after_kill_minus_nine_every_sandbox_is_back_and_no_promise_is_broken() {
    let (directory, redis, corner) = (directory(), RedisServer::start(), Corner::new().await);
    let (mut raw, now, prefix) = (redis.raw(), wall_clock(), corner.prefix.clone());
    for index in 0..190 {
        let id = format!("planted-{index}");
        // Some are overdue by the time of the second start.
        let idle_timeout = if index < 20 { 1.0 } else { 900.0 };
        let () = raw.hset(format!("{prefix}-session:{id}"), "__sandbox__", record(&id, now, idle_timeout)).unwrap();
        let () = raw.zadd(format!("{prefix}:active"), &id, now).unwrap();
    }
    // Nothing that is overdue ends in the first run, however slow this machine is.
    let began = Instant::now();
    let grace = ["--set", "lifecycle.restart_grace=600"];
    let program = on_redis(&directory, &redis, &corner, &grace).await;
    for index in 0..10 {
        program.create(&json!({"id": format!("real-{index}"), "idle_timeout": 900})).await;
    }
    let ids: Vec<_> = (0..190).map(|n| format!("planted-{n}")).chain((0..10).map(|n| format!("real-{n}"))).collect();
    let mut promised = BTreeMap::new();
    for round in 0..4 {
        for id in ids.iter().skip(round).step_by(4) {
            let ping = program.post(&format!("/v1/sandboxes/{id}/activity"), &Value::Null).await;
            assert_eq!(ping.status, 200, "{id}: {}", ping.body);
            promised.insert(id.clone(), number(&ping.body["idle_deadline"]));
        }
    }
    // The last pings of all are not in the store yet.
    program.kill().await;

    // What the first run has used up of the grace is not granted again.
    let (killed, rest) = (Instant::now(), Duration::from_secs(20));
    let grace = format!("lifecycle.restart_grace={}", (began.elapsed() + rest).as_secs_f64());
    let program = on_redis(&directory, &redis, &corner, &["--set", &grace]).await;
    for (id, promised) in &promised {
        let back = program.get(&format!("/v1/sandboxes/{id}")).await;
        assert_eq!((back.status, &back.body["status"]), (200, &json!("running")), "{id}: {}", back.body);
        let late = number(&back.body["idle_deadline"]) - promised;
        assert!(late >= 0.0, "{id} would end {} s before its promise", -late);
        assert!(late <= 1.0 + 0.05, "{id} would end {late} s after its promise");
    }
    assert!(killed.elapsed() + Duration::from_secs(1) < rest, "this machine is too slow for this test's grace");
    assert_eq!(program.metric("sandglass_ends_total{reason=\"idle\"}").await, 0.0, "ended within the grace");
    assert_eq!(corner.containers().await.len(), 10);
    let overdue = program.until("planted-0", "terminated", rest + SLACK).await;
    // A run notes a second ahead how much of the grace it has used up.
    assert!(killed.elapsed() + Duration::from_secs(1) >= rest, "ended within the grace");
    assert_eq!(overdue["reason"], "idle");
    let text: String = raw.hget(format!("{prefix}-session:planted-50"), "__sandbox__").unwrap();
    assert!(text.contains("123456789012345678901234567890"), "a field that is not ours is lost: {text}");
}

#[tokio::test]
async fn a_foreign_container_of_our_name_is_never_touched() {
    let (directory, corner) = (directory(), Corner::new().await);
    let id = SandboxId::parse(&corner.prefix).expect("an id");
    let name = container_name(&corner.prefix, &id);
    let foreign = corner.put(&name, &[("somebody", "else")]).await;
    // A container with our labels under another prefix is left alone, too.
    let cousin =
        corner.put(&format!("cousin-{name}"), &[("sandglass.prefix", "other"), ("sandglass.id", &corner.prefix)]).await;
    let program = on_a_file(&directory, &corner, &[]).await;
    let refused = program.post("/v1/sandboxes", &json!({"id": corner.prefix, "idle_timeout": 1})).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (502, &json!("start_failed")), "{}", refused.body);
    let path = format!("/v1/sandboxes/{}", corner.prefix);
    program.until(&corner.prefix, "failed", SLACK).await;
    let gone = program.delete(&path).await;
    assert!(matches!(gone.status, 202 | 410), "{}", gone.body);
    sleep(STOP_GRACE + Duration::from_secs(1)).await;
    for id in [&foreign, &cousin] {
        let state = corner.inspect(id).await.state.expect("a state");
        assert_eq!((state.running, state.paused), (Some(true), Some(false)));
    }
}

#[tokio::test]
async fn a_second_supervisor_on_the_same_prefix_says_who_holds_it_and_does_not_start() {
    let (directory, redis, corner) = (directory(), RedisServer::start(), Corner::new().await);
    let url = redis.url();
    let redis_arguments = ["--redis-url", url.as_str(), "--prefix", corner.prefix.as_str()];
    let first = Program::serve(directory.path(), &redis_arguments).await;
    let mut second = Program::spawn(directory.path(), &redis_arguments);
    let status = second.ended(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(3), "{}", second.log());
    assert!(second.log().contains("another supervisor is in charge"), "{}", second.log());
    assert_eq!(first.get("/healthz").await.status, 200);
    first.stop().await;
    // A clean stop gives the lease back, so the next start does not wait.
    let started = Instant::now();
    on_redis(&directory, &redis, &corner, &[]).await.stop().await;
    assert!(started.elapsed() < SLACK, "the lease was not given back");

    let file = on_a_file(&directory, &corner, &[]).await;
    // The same file, and one of its own in another directory.
    let elsewhere = self::directory();
    for place in [&directory, &elsewhere] {
        let mut second = Program::spawn(place.path(), &["--prefix", corner.prefix.as_str()]);
        assert_eq!(second.ended(Duration::from_secs(20)).await.code(), Some(3), "{}", second.log());
    }
    assert_eq!(file.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_clean_stop_ends_no_sandbox_and_a_restart_finds_all_of_them() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    program.create(&json!({"id": "kept", "idle_timeout": 600, "metadata": {"owner": "ü \"quoted\""}})).await;
    program.create(&json!({"id": "frozen", "idle_timeout": 600})).await;
    assert_eq!(program.post("/v1/sandboxes/frozen/pause", &Value::Null).await.status, 200);
    let before = program.post("/v1/sandboxes/kept/activity", &Value::Null).await.body;
    program.stop().await;
    assert_eq!(corner.containers().await.len(), 2);
    let program = on_a_file(&directory, &corner, &[]).await;
    let kept = program.get("/v1/sandboxes/kept").await.body;
    assert_eq!((&kept["status"], &kept["metadata"]["owner"]), (&json!("running"), &json!("ü \"quoted\"")));
    assert!((number(&kept["last_activity_at"]) - number(&before["last_activity_at"])).abs() < 1e-3);
    assert_eq!(program.get("/v1/sandboxes/frozen").await.body["status"], "paused");
    let gone = program.delete("/v1/sandboxes/kept?wait=20").await;
    assert_eq!((gone.status, &gone.body["status"]), (200, &json!("terminated")), "{}", gone.body);
    assert_eq!(corner.containers().await.len(), 1);
}

#[tokio::test]
async fn while_redis_is_down_pings_go_on_and_nothing_is_started_or_ended() {
    let (directory, mut redis, corner) = (directory(), RedisServer::start(), Corner::new().await);
    let program = on_redis(&directory, &redis, &corner, &[]).await;
    program.create(&json!({"id": "lives", "idle_timeout": 600})).await;
    program.create(&json!({"id": "due", "idle_timeout": 2})).await;
    redis.stop();
    program.until("due", "terminating", Duration::from_secs(2) + SLACK).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(corner.containers().await.len(), 2, "removed before its intent was stored");
    assert_eq!(program.post("/v1/sandboxes/lives/activity", &Value::Null).await.status, 200);
    let ready = program.get("/readyz").await;
    assert_eq!((ready.status, &ready.body["status"]), (503, &json!("degraded")), "{}", ready.body);
    let refused = program.post("/v1/sandboxes", &json!({"id": "new"})).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (503, &json!("store_unavailable")));
    // It comes back empty: what lives is written again from memory.
    redis.restart();
    program.until("due", "terminated", Duration::from_secs(15)).await;
    let kept = program.post("/v1/sandboxes/lives/keep-alive", &json!({"timeout": 60})).await;
    assert_eq!(kept.status, 200);
    let text: String = redis.raw().hget(format!("{}-session:lives", corner.prefix), "__sandbox__").unwrap();
    assert!(text.contains("\"running\""));
    // Unused sandboxes are written again within a third of the lease's time.
    program.create(&json!({"id": "silent", "idle_timeout": 600})).await;
    redis.restart();
    let deadline = Instant::now() + Duration::from_secs(10);
    while redis.raw().zcard::<_, usize>(format!("{}:active", corner.prefix)).unwrap() < 2 {
        assert!(Instant::now() < deadline, "what lives was not written again");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_reference_systems_data_is_taken_over_in_place() {
    let (directory, redis, corner) = (directory(), RedisServer::start(), Corner::new().await);
    let (mut raw, fixtures) = (redis.raw(), Fixtures::at(wall_clock()));
    // The same test may run at the same time on this engine.
    let key = |text: &str| text.replace("wegent-sandbox", &corner.prefix);
    let own_name = format!("wegent-task-{}", corner.prefix);
    for entry in &fixtures.entries {
        let () = raw.zadd(key(&fixtures.active_set), &entry.id, entry.score).unwrap();
        for (field, value) in entry.hash.iter().flatten() {
            let key = key(&format!("{}{}", fixtures.session_prefix, entry.id));
            let () = raw.hset(&key, field, value.replace("wegent-task-user24-1001", &own_name)).unwrap();
            let () = raw.expire(&key, entry.ttl.unwrap_or(93_000) as i64).unwrap();
        }
    }
    // Its name is in its record; another one with its labels was made of it.
    let labels = [("owner", "executor_manager"), ("task_id", "1001")];
    let reference = corner.put(&own_name, &labels).await;
    let copy = corner.put(&format!("task-{}", corner.prefix), &labels).await;
    let arguments = ["--redis-url", &redis.url(), "--prefix", &corner.prefix];
    let program = Program::serve(directory.path(), &arguments).await;
    for (variant, idle_timeout) in
        [("minimal", 7200.0), ("typical", 7200.0), ("legacy", 86400.0), ("no-expires", 86400.0)]
    {
        for entry in fixtures.of(variant) {
            let seen = program.get(&format!("/v1/sandboxes/{}", entry.id)).await.body;
            let promised = entry.score.max(number(&seen["last_activity_at"])) + idle_timeout;
            let late = number(&seen["idle_deadline"]) - promised;
            assert!((-1e-3..=1.05).contains(&late), "{variant} {}: {late} s off: {seen}", entry.id);
        }
    }
    let quarantined: BTreeMap<Vec<u8>, String> = raw.hgetall(key("wegent-sandbox:quarantine")).unwrap();
    assert_eq!(quarantined.len(), 4);
    let left: BTreeMap<String, String> = raw.hgetall(key("wegent-sandbox-session:1111")).unwrap();
    assert!(left.contains_key("7"), "a field of somebody else is lost");
    // Completed and alive: no expiry. Its container is known by the reference's labels, and removed by them.
    let ttl: i64 = raw.ttl(key("wegent-sandbox-session:1021")).unwrap();
    assert_eq!(ttl, -1);
    let gone = program.delete("/v1/sandboxes/1001?wait=20").await;
    assert_eq!(gone.status, 200, "{}", gone.body);
    assert!(corner.client.inspect_container(&reference, None).await.is_err(), "its container is left");
    assert_eq!(corner.inspect(&copy).await.state.expect("a state").running, Some(true));
}

#[tokio::test]
async fn what_happens_to_containers_by_themselves_and_by_hand_is_noticed_at_once() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let shell =
        |id: &str, script: &str| json!({"id": id, "command": ["sh", "-c", script], "limits": {"memory_mb": 16}});
    let bodies = [
        shell("ends-well", "sleep 1"),
        shell("ends-badly", "sleep 1; exit 3"),
        shell("greedy", "sleep 1; exec tail /dev/zero"),
        json!({"id": "removed"}),
        json!({"id": "killed"}),
        json!({"id": "frozen"}),
    ];
    let mut created = BTreeMap::new();
    for sandbox in futures_util::future::join_all(bodies.iter().map(|body| program.create(body))).await {
        let text = |name: &str| sandbox[name].as_str().expect("text").to_owned();
        created.insert(text("sandbox_id"), text("container_id"));
    }
    let remove = bollard::query_parameters::RemoveContainerOptionsBuilder::default().force(true).build();
    corner.client.remove_container(&created["removed"], Some(remove)).await.expect("removed by hand");
    corner.client.kill_container(&created["killed"], None).await.expect("killed by hand");
    corner.client.pause_container(&created["frozen"]).await.expect("paused by hand");
    for (id, status, reason, exit_code) in [
        ("ends-well", "succeeded", "exited", json!(0)),
        ("ends-badly", "failed", "exited", json!(3)),
        ("greedy", "failed", "oom_killed", json!(137)),
        ("removed", "failed", "vanished", Value::Null),
        ("killed", "failed", "exited", json!(137)),
    ] {
        let ended = program.until(id, status, Duration::from_secs(2) + SLACK).await;
        assert_eq!((&ended["reason"], &ended["exit_code"]), (&json!(reason), &exit_code), "{ended}");
    }
    program.until("frozen", "paused", SLACK).await;
    corner.client.unpause_container(&created["frozen"]).await.expect("thawed by hand");
    program.until("frozen", "running", SLACK).await;
    let deadline = Instant::now() + SLACK;
    while corner.containers().await.len() > 1 {
        assert!(Instant::now() < deadline, "what has ended is not removed");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn containers_that_outlive_their_records_are_adopted_or_removed() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    program.create(&json!({"id": "young", "idle_timeout": 600})).await;
    program.create(&json!({"id": "old", "idle_timeout": 4})).await;
    program.kill().await;
    std::fs::remove_dir_all(directory.path().join(".sandglass")).expect("the store is lost");
    sleep(Duration::from_secs(4)).await;
    let program = on_a_file(&directory, &corner, &["--set", "docker.orphan_grace=1"]).await;
    let deadline = Instant::now() + SLACK;
    while program.get("/v1/sandboxes/old").await.status == 404 {
        assert!(Instant::now() < deadline, "nobody cares for a container without a sandbox");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(program.until("old", "terminated", STOP_GRACE + SLACK).await["reason"], "orphaned");
    let young = program.until("young", "running", SLACK).await;
    assert_eq!(young["idle_timeout"], 600.0);
    assert_eq!(program.post("/v1/sandboxes/young/activity", &Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_wrong_setting_ends_the_start_with_the_key_the_value_and_the_rule() {
    let directory = directory();
    let output = command(&["serve", "--set", "lifecycle.idle_timeout=0"]).current_dir(&directory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("lifecycle.idle_timeout") && text.contains("0 is refused"), "{text}");
    let output = command(&["serve", "--bind", "0.0.0.0:0"]).current_dir(&directory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("api_key"), "{text}");
}

#[tokio::test]
async fn variables_that_an_orchestrator_injects_are_warned_of_once_and_end_nothing() {
    let (directory, taken) = (directory(), std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let address = taken.local_addr().expect("its address").to_string();
    // An address that is taken ends it just after its logs are set up.
    let output = command(&["serve", "--bind", &address])
        .env("SANDGLASS_PORT", "tcp://10.0.0.7:8080")
        .env("SANDGLASS_SERVICE_HOST", "10.0.0.7")
        .env("SANDGLASS_URL", "http://127.0.0.1:8080")
        .current_dir(&directory)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let warnings: Vec<&str> = text.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{text}");
    assert!(warnings[0].contains("SANDGLASS_PORT, SANDGLASS_SERVICE_HOST"), "{text}");
    // This variable sets a flag of another command.
    assert!(!text.contains("SANDGLASS_URL") && !text.contains("10.0.0.7"), "{text}");
}

#[tokio::test]
async fn a_start_that_waits_for_its_store_can_be_stopped() {
    let (directory, mut redis, corner) = (directory(), RedisServer::start(), Corner::new().await);
    let url = redis.url();
    redis.stop();
    let mut program = Program::spawn(directory.path(), &["--redis-url", &url, "--prefix", &corner.prefix]);
    let deadline = Instant::now() + SLACK;
    while !program.log().contains("the start waits") {
        assert!(Instant::now() < deadline, "{}", program.log());
        sleep(Duration::from_millis(20)).await;
    }
    program.signal(Signal::SIGINT);
    assert_eq!(program.ended(SLACK).await.code(), Some(0), "{}", program.log());
}

#[tokio::test]
async fn the_demonstration_goes_as_told_and_leaves_nothing() {
    let directory = directory();
    let corner = Corner::new().await;
    let temporary = directory.path().to_owned();
    let output = tokio::task::spawn_blocking(move || {
        command(&["demo"]).env("TMPDIR", &temporary).current_dir(&temporary).output().expect("it runs")
    });
    let output = output.await.expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("As told"), "{text}");
    let left = std::fs::read_dir(directory.path()).expect("readable").count();
    assert_eq!(left, 0, "files are left");
    drop(corner);
}
