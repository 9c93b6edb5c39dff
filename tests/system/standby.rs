//! `sandglass serve --standby`, with the real binary on real Redis and on a file.

use std::{path::Path, time::Duration};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::{docker::Corner, program::Program, redis::RedisServer};

/// How often a refused client retries.
const EVERY: Duration = Duration::from_millis(20);
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The store and the prefix that two supervisors share.
struct Place {
    directory: TempDir,
    corner: Corner,
    redis: Option<RedisServer>,
}

impl Place {
    async fn with(redis: Option<RedisServer>) -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory of the test's own"),
            corner: Corner::new().await,
            redis,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--prefix".to_owned(), self.corner.prefix.clone()];
        if let Some(redis) = &self.redis {
            arguments.extend(["--redis-url".to_owned(), redis.url()]);
        }
        arguments
    }

    /// The sandbox's id, unique since its container is named after it and tests share one engine.
    fn sandbox(&self) -> String {
        format!("/v1/sandboxes/{}", self.corner.prefix)
    }

    /// Starts a holder with one sandbox, and its standby.
    async fn two(&self) -> (Program, Program) {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let holder = Program::serve(self.path(), &arguments).await;
        holder.create(&json!({"id": self.corner.prefix, "idle_timeout": 600})).await;
        let standby = Program::stand_by(self.path(), &arguments).await;
        (holder, standby)
    }
}

/// Sends one ping with a short timeout.
async fn ping(client: &reqwest::Client, sandbox: &str) -> bool {
    let request = client.post(format!("{sandbox}/activity")).timeout(Duration::from_secs(1));
    request.send().await.is_ok_and(|answer| answer.status().is_success())
}

/// Pings both addresses until the second one answers, and returns for how long neither did.
async fn gap(old: String, new: String) -> Duration {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let began = Instant::now();
    let mut last = began;
    assert!(ping(&client, &old).await, "the holder answers");
    loop {
        if ping(&client, &old).await {
            last = Instant::now();
        } else if ping(&client, &new).await {
            return last.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "nobody took over");
        sleep(EVERY).await;
    }
}

async fn hands_over(place: &Place) {
    let (holder, mut standby) = place.two().await;
    let alive = standby.get("/healthz").await;
    assert_eq!((alive.status, alive.body), (200, json!({"status": "ok"})));
    let ready = standby.get("/readyz").await;
    assert_eq!((ready.status, &ready.body["status"]), (503, &json!("standby")), "{}", ready.body);
    let reason = ready.body["reasons"][0]["error"].as_str().expect("a reason");
    assert!(reason.contains("another supervisor is in charge: instance"), "{reason}");
    for refused in
        [standby.get("/v1/sandboxes").await, standby.post(&format!("{}/activity", place.sandbox()), &Value::Null).await]
    {
        assert_eq!((refused.status, &refused.body["error"]["code"]), (503, &json!("standby")), "{}", refused.body);
    }
    let before = holder.get(&place.sandbox()).await.body;
    // This sandbox falls due while no supervisor is in charge.
    let due = format!("{}-due", place.corner.prefix);
    let deadline = holder.create(&json!({"id": due, "idle_timeout": 1.5})).await["idle_deadline"].clone();
    let deadline = deadline.as_f64().expect("a deadline");
    // Several clients, so that some request is always in flight.
    let (old, new) = (holder.url().to_owned() + &place.sandbox(), standby.url().to_owned() + &place.sandbox());
    let clients: Vec<_> = (0..8).map(|_| tokio::spawn(gap(old.clone(), new.clone()))).collect();
    let stops_at = deadline - 0.02;
    sleep(Duration::try_from_secs_f64(stops_at - sandglass::clock::wall_seconds()).unwrap_or_default()).await;
    holder.stop().await;
    for client in clients {
        let gap = client.await.expect("the client's story");
        println!("refused for {gap:?}");
        assert!(gap < Duration::from_secs(1), "pings were refused for {gap:?}");
    }
    standby.wait_until_ready().await;
    let after = standby.get(&place.sandbox()).await.body;
    assert_eq!((&after["status"], &after["container_id"]), (&json!("running"), &before["container_id"]));
    assert_eq!(standby.log().matches("standing by").count(), 1, "{}", standby.log());
    assert_eq!(standby.get("/readyz").await.status, 200);
    let ended = standby.until(&due, "terminated", ENDS_WITHIN).await["ended_at"].as_f64().expect("a time");
    println!("late by {:.3} s", ended - deadline);
    assert!((0.0..1.0).contains(&(ended - deadline)), "late by {:.3} s", ended - deadline);
    assert_eq!(place.corner.containers().await.len(), 1);
    standby.stop().await;
}

async fn replaces_the_dead(place: &Place) {
    let (holder, standby) = place.two().await;
    let client =
        tokio::spawn(gap(holder.url().to_owned() + &place.sandbox(), standby.url().to_owned() + &place.sandbox()));
    sleep(Duration::from_millis(530)).await;
    holder.kill().await;
    let gap = client.await.expect("the client's story");
    println!("nobody for {gap:?}");
    // Far less than the lease's time, since a dead process on this host is known to be dead.
    assert!(gap < Duration::from_secs(5), "nobody answered for {gap:?}");
    assert_eq!(standby.get(&place.sandbox()).await.body["status"], "running");
}

async fn leaves_cleanly(place: &Place) {
    let (holder, mut standby) = place.two().await;
    standby.signal(Signal::SIGINT);
    let status = standby.ended(ENDS_WITHIN).await;
    assert_eq!(status.code(), Some(0), "{}", standby.log());
    assert_eq!(holder.post(&format!("{}/activity", place.sandbox()), &Value::Null).await.status, 200);
    assert_eq!(holder.get("/readyz").await.status, 200);
}

/// Makes a test of each law on Redis and on a file.
macro_rules! on_both {
    ($($law:ident: $on_redis:ident, $on_a_file:ident;)+) => {$(
        #[tokio::test]
        async fn $on_redis() {
            $law(&Place::with(Some(RedisServer::start())).await).await;
        }

        #[tokio::test]
        async fn $on_a_file() {
            $law(&Place::with(None).await).await;
        }
    )+};
}

on_both! {
    hands_over:
        on_redis_a_standby_takes_over_with_less_than_a_second_of_refused_pings,
        on_a_file_a_standby_takes_over_with_less_than_a_second_of_refused_pings;
    replaces_the_dead:
        on_redis_a_standby_takes_over_from_a_holder_that_was_killed,
        on_a_file_a_standby_takes_over_from_a_holder_that_was_killed;
    leaves_cleanly:
        on_redis_a_standby_that_is_told_to_stop_ends_cleanly_and_changes_nothing,
        on_a_file_a_standby_that_is_told_to_stop_ends_cleanly_and_changes_nothing;
}

#[tokio::test]
async fn a_standby_takes_over_from_a_holder_that_hangs_when_its_lease_runs_out_and_the_holder_ends() {
    let place = Place::with(Some(RedisServer::start())).await;
    let arguments = [place.arguments(), vec!["--set".to_owned(), "store.lease_ttl=3".to_owned()]].concat();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut holder = Program::serve(place.path(), &arguments).await;
    let mut standby = Program::stand_by(place.path(), &arguments).await;
    holder.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    standby.wait_until_ready().await;
    // The lease was renewed at most a third of its time before.
    assert!(stopped.elapsed() > Duration::from_millis(1900), "taken from a holder that might have gone on");
    assert!(stopped.elapsed() < Duration::from_secs(3) + ENDS_WITHIN, "{:?}", stopped.elapsed());
    holder.signal(Signal::SIGCONT);
    assert_eq!(holder.ended(ENDS_WITHIN).await.code(), Some(3), "{}", holder.log());
    assert_eq!(standby.get("/readyz").await.status, 200);
}
