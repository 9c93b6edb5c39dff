//! The lease in Redis (`design::persistence::lease`): which supervisor gets it, keeps it, and may write.

use std::{process::Command, time::Duration};

use redis::Commands;
use sandglass::{
    ports::store::{DataState, Found, LastStop, Store},
    store::{RedisStore, redis::Settings},
};
use serde_json::Value;
use tokio::time::Instant;

use super::laws::{assert_held, put};
use crate::stores::{Redis, Set, World, all};

const LEASE: &str = "law:lease";

fn with_ttl(world: &Redis, name: &str, lease_ttl: Duration) -> RedisStore {
    RedisStore::connect(Settings { lease_ttl, ..world.settings(name) }).unwrap()
}

fn lease(world: &Redis) -> Value {
    serde_json::from_str(&world.server.raw().get::<_, String>(LEASE).unwrap()).unwrap()
}

fn set_lease(world: &Redis, lease: &Value) {
    let _: () = world.server.raw().set_ex(LEASE, lease.to_string(), 3_600).unwrap();
}

#[tokio::test]
async fn the_lease_says_who_holds_it_and_expires() {
    let world = Redis::new();
    let store = world.store("the first");
    store.acquire().await.unwrap();
    let lease = lease(&world);
    assert_eq!((&lease["instance"], &lease["pid"]), (&"the first".into(), &std::process::id().into()));
    assert_eq!(lease["token"].as_str().unwrap().len(), 32);
    let ttl: i64 = world.server.raw().pttl(LEASE).unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
    let epoch: u64 = world.server.raw().get("law:epoch").unwrap();
    assert_eq!(lease["epoch"], epoch);
    store.release().await.unwrap();
    assert!(!world.server.raw().exists::<_, bool>(LEASE).unwrap());
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_taken_when_it_runs_out() {
    let world = Redis::new();
    let ttl = Duration::from_millis(600);
    let first = with_ttl(&world, "the first", ttl);
    let began = Instant::now();
    first.acquire().await.unwrap();
    let second = world.store("the second");
    second.acquire().await.unwrap();
    assert!(began.elapsed() > ttl * 9 / 10, "taken from a holder that might have lived");
    assert!(assert_held(first.commit(&[put("a", "1")]).await).contains("the second"));
    assert_held(first.renew().await);
    second.release().await.unwrap();
    // A holder that was replaced does not come back by itself, even while the lease is free.
    assert_held(first.commit(&[put("a", "1")]).await);
    assert_eq!(all(&second, Set::Active).await, []);
}

#[tokio::test]
async fn a_late_holder_that_nobody_has_replaced_goes_on() {
    let world = Redis::new();
    let store = with_ttl(&world, "the first", Duration::from_millis(50));
    store.acquire().await.unwrap();
    let mut raw = world.server.raw();
    while raw.exists::<_, bool>(LEASE).unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.commit(&[put("a", "1")]).await.unwrap();
    store.renew().await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_dead_holder_on_this_host_is_replaced_at_once_and_a_living_one_is_not() {
    let world = Redis::new();
    world.store("the first").acquire().await.unwrap();
    let ours = lease(&world);
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let start_time: u64 = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    let mut other = ours.clone();
    other["token"] = "other".into();
    other["instance"] = "in another process".into();
    (other["pid"], other["start_time"]) = (child.id().into(), start_time.into());
    let _: () = world.server.raw().set(LEASE, other.to_string()).unwrap();
    let store = world.store("the second");
    let holder = assert_held(store.acquire().await);
    assert!(holder.contains("in another process") && holder.contains(&child.id().to_string()), "{holder}");

    child.kill().unwrap();
    set_lease(&world, &other);
    let began = Instant::now();
    store.acquire().await.unwrap();
    child.wait().unwrap();
    set_lease(&world, &other);
    world.store("the third").acquire().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(60), "waited for somebody dead");

    // The same process id on another host, or before a reboot, proves nothing.
    for field in ["host", "boot_id", "pid_namespace"] {
        let mut elsewhere = other.clone();
        elsewhere[field] = "elsewhere".into();
        let _: () = world.server.raw().set(LEASE, elsewhere.to_string()).unwrap();
        assert_held(world.store("the fourth").acquire().await);
    }
}

#[tokio::test]
async fn a_lease_that_is_no_lease_is_held_and_shown() {
    let world = Redis::new();
    let _: () = world.server.raw().set(LEASE, "hands off").unwrap();
    let holder = assert_held(world.store("the first").acquire().await);
    assert!(holder.contains("hands off"), "{holder}");
}

#[tokio::test]
async fn a_server_that_restarted_empty_lets_the_holder_go_on() {
    let mut world = Redis::new();
    let store = world.store("the first");
    store.acquire().await.unwrap();
    assert_eq!(store.commit(&[put("a", "1")]).await, Ok(DataState::Kept));
    world.server.restart();
    assert_eq!(store.commit(&[put("b", "2")]).await, Ok(DataState::Reverted), "nobody is told that `a` is lost");
    assert_eq!(store.commit(&[put("b", "3")]).await, Ok(DataState::Kept), "said once");
    assert_eq!(all(&store, Set::Active).await[0].found, Found::Record(b"3".to_vec()));
    assert_eq!(lease(&world)["instance"], "the first");
    world.server.restart();
    assert_eq!(store.renew().await, Ok(DataState::Reverted));
    assert_eq!(store.renew().await, Ok(DataState::Kept));
    assert_eq!(lease(&world)["instance"], "the first");
}

#[tokio::test]
async fn a_server_that_went_back_to_an_older_snapshot_is_noticed() {
    let world = Redis::new();
    let store = world.store("the first");
    store.acquire().await.unwrap();
    store.commit(&[put("a", "1")]).await.unwrap();
    let mut raw = world.server.raw();
    let snapshot: String = raw.get("law:sequence").unwrap();
    store.commit(&[put("a", "2")]).await.unwrap();
    let _: () = raw.set("law:sequence", snapshot).unwrap();
    assert_eq!(store.renew().await, Ok(DataState::Reverted));
}

#[tokio::test]
async fn a_lease_taken_on_a_server_that_restarted_empty_outranks_the_old_one() {
    let mut world = Redis::new();
    let (first, second) = (world.store("the first"), world.store("the second"));
    first.acquire().await.unwrap();
    world.server.restart();
    second.acquire().await.unwrap();
    assert!(assert_held(first.commit(&[put("a", "1")]).await).contains("the second"));
    second.commit(&[put("a", "2")]).await.unwrap();
    // The order in which they come back does not matter.
    world.server.restart();
    let _ = first.renew().await;
    second.commit(&[put("a", "2")]).await.unwrap();
    assert_held(first.commit(&[put("a", "1")]).await);
    assert_eq!(all(&second, Set::Active).await[0].found, Found::Record(b"2".to_vec()));
}

/// Asks for the lease as a standby does, until it gets it.
async fn stand_by(store: &RedisStore) -> LastStop {
    loop {
        match store.try_acquire().await {
            Ok(last) => return last,
            held => _ = assert_held(held),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_standby_takes_a_lease_that_runs_out_before_its_eyes_at_once() {
    let world = Redis::new();
    let ttl = Duration::from_millis(600);
    let first = with_ttl(&world, "the first", ttl);
    let began = Instant::now();
    first.acquire().await.unwrap();
    // The lease lives for a minute, which the standby does not wait for.
    let second = world.store("the second");
    assert_eq!(stand_by(&second).await, LastStop::Unclean);
    assert!((ttl * 9 / 10..Duration::from_secs(30)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(assert_held(first.commit(&[put("a", "1")]).await).contains("the second"));
}

#[tokio::test]
async fn a_standby_leaves_a_lease_that_the_server_lost_to_its_holder() {
    let mut world = Redis::new();
    let (first, second) = (world.store("the first"), world.store("the second"));
    first.acquire().await.unwrap();
    first.commit(&[put("a", "1")]).await.unwrap();
    assert!(assert_held(second.try_acquire().await).contains("the first"));
    world.server.restart();
    for _ in 0..3 {
        // The first call may find the connection broken.
        if let Ok(last) = second.try_acquire().await {
            panic!("taken from a holder that has everything in memory ({last:?})");
        }
    }
    assert_eq!(first.commit(&[put("a", "1")]).await, Ok(DataState::Reverted));
    assert!(assert_held(second.try_acquire().await).contains("the first"));
    first.hand_over(Duration::ZERO).await.unwrap();
    assert!(matches!(second.try_acquire().await, Ok(LastStop::Clean { .. })));
}

#[tokio::test]
async fn a_standby_takes_a_vanished_lease_when_nobody_comes_back_for_it() {
    let world = Redis::new();
    let ttl = Duration::from_millis(500);
    let (first, second) = (world.store("the first"), with_ttl(&world, "the second", ttl));
    first.acquire().await.unwrap();
    assert_held(second.try_acquire().await);
    let _: () = world.server.raw().del(LEASE).unwrap();
    let began = Instant::now();
    assert_eq!(stand_by(&second).await, LastStop::Unclean);
    assert!(began.elapsed() >= ttl * 9 / 10, "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_note_of_an_earlier_stop_is_not_believed() {
    let world = Redis::new();
    let store = world.store("the first");
    store.acquire().await.unwrap();
    store.hand_over(Duration::ZERO).await.unwrap();
    let note: String = world.server.raw().get("law:stopped").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&note).unwrap()["clean"], true);
    store.acquire().await.unwrap();
    assert!(!world.server.raw().exists::<_, bool>("law:stopped").unwrap());
    store.release().await.unwrap();
    // The state of a server that went back to an older snapshot, or that another client wrote to.
    for odd in [&*note, "{}", "null", "7", "not json"] {
        let _: () = world.server.raw().set("law:stopped", odd).unwrap();
        assert_eq!(store.acquire().await, Ok(LastStop::Unclean), "{odd}");
        store.release().await.unwrap();
    }
}
