//! The promise to the millisecond, on real Docker and real Redis. No other test runs meanwhile, since it reads lateness.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::support::{docker::Corner, program::Program, quiet::Quiet, redis::RedisServer};

const STOP_GRACE: Duration = Duration::from_secs(1);
/// How much longer a busy machine may take.
const SLACK: Duration = Duration::from_secs(5);

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test]
async fn a_pinged_sandbox_runs_on_and_an_unused_one_ends_at_its_deadline() {
    let _quiet = Quiet::begin();
    let directory = tempfile::tempdir().expect("a directory of the test's own");
    let (redis, corner) = (RedisServer::start(), Corner::new().await);
    let program = Program::serve(directory.path(), &["--redis-url", &redis.url(), "--prefix", &corner.prefix]).await;
    let (used, unused) = (json!({"id": "used", "idle_timeout": 3}), json!({"id": "unused", "idle_timeout": 3}));
    let (_, created) = tokio::join!(program.create(&used), program.create(&unused));
    let deadline = number(&created["idle_deadline"]);
    let mut seconds = interval(Duration::from_secs(1));
    let mut last_ping = Value::Null;
    for _ in 0..=10 {
        seconds.tick().await;
        let ping = program.post("/v1/sandboxes/used/activity", &Value::Null).await;
        assert_eq!((ping.status, &ping.body["status"]), (200, &json!("running")));
        last_ping = ping.body;
    }
    let pinged = Instant::now();
    let unused = program.get("/v1/sandboxes/unused").await.body;
    assert_eq!((&unused["status"], &unused["reason"]), (&json!("terminated"), &json!("idle")));
    let ended = number(&unused["ended_at"]);
    assert!(ended >= deadline, "it ended {} s early", deadline - ended);

    let gone = program.until("used", "terminated", Duration::from_secs(3) + STOP_GRACE + SLACK).await;
    assert!(pinged.elapsed() >= Duration::from_millis(2900), "ended early");
    assert!(number(&gone["ended_at"]) >= number(&last_ping["idle_deadline"]), "ended before the promised time");
    assert!(corner.containers().await.is_empty(), "a container is left");
    let refused = program.post("/v1/sandboxes/used/activity", &Value::Null).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (410, &json!("gone")));

    // The program's histogram says that all ends by a deadline began at most 50 ms late.
    let all = program.metric("sandglass_lateness_seconds_count").await;
    let on_time = program.metric("sandglass_lateness_seconds_bucket{le=\"0.05\"}").await;
    assert_eq!((all, on_time), (2.0, 2.0));
}
