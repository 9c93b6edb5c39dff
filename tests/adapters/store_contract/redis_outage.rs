//! A Redis server that is down, hangs, loads, is full, or closes connections (`design::persistence::outage`).

use std::time::Duration;

use redis::Commands;
use sandglass::{
    ports::store::{Found, Store, StoreError},
    store::{RedisStore, redis::Settings},
};

use super::laws::{id, put};
use crate::{
    stores::{Redis, Set, World, all},
    support::redis::RedisServer,
};

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(words)) if !words.trim().is_empty() => words,
        other => panic!("expected an outage in words, got {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_an_error_of_every_call_and_then_everything_works_by_itself() {
    let mut world = Redis::new();
    world.server.stop();
    let store = world.store("the first");
    assert!(unavailable(store.acquire().await).contains(&world.server.port().to_string()));
    world.server.restart();
    store.acquire().await.unwrap();
    store.commit(&[put("a", "1")]).await.unwrap();
    world.server.stop();
    unavailable(store.acquire().await);
    unavailable(store.renew().await);
    unavailable(store.commit(&[put("a", "2")]).await);
    unavailable(store.active(None, 10).await);
    unavailable(store.tombstones(None, 10).await);
    unavailable(store.quarantined().await);
    unavailable(store.get(&id("a")).await);
    world.server.restart();
    store.get(&id("a")).await.unwrap();
    store.commit(&[put("a", "3")]).await.unwrap();
    assert_eq!(all(&store, Set::Active).await.len(), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced_without_an_error() {
    let world = Redis::new();
    let store = world.store("the first");
    store.acquire().await.unwrap();
    for _ in 0..5 {
        let _: () = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query(&mut world.server.raw()).unwrap();
        store.commit(&[put("a", "1")]).await.unwrap();
    }
}

#[test]
fn a_store_outlives_the_runtime_that_it_connected_in() {
    let world = Redis::new();
    let store = world.store("the first");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(store.acquire()).unwrap();
    for _ in 0..3 {
        runtime().block_on(store.commit(&[put("a", "1")])).unwrap();
    }
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let world = Redis::new();
    let store = world.store("the first");
    store.acquire().await.unwrap();
    let _: () = redis::cmd("SCRIPT").arg("FLUSH").query(&mut world.server.raw()).unwrap();
    let batch: Vec<_> = (0..2_500).map(|n| put(&format!("s{n}"), "{}")).collect();
    store.commit(&batch).await.unwrap();
    assert_eq!(all(&store, Set::Active).await.len(), 2_500);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_on_in_time_and_does_not_keep_the_connection() {
    let world = Redis::new();
    let settings = Settings { call_timeout: Duration::from_secs(1), ..world.settings("the first") };
    let store = RedisStore::connect(settings).unwrap();
    store.acquire().await.unwrap();
    world.server.hang();
    for round in 0..2 {
        let words = unavailable(store.commit(&[put("a", round.to_string())]).await);
        assert!(words.contains("no answer within"), "{words}");
    }
    world.server.go_on();
    store.commit(&[put("a", "last")]).await.unwrap();
    // The server handles the new connection after the old one, so a commit that can still arrive has arrived.
    let _: Vec<String> = world.server.raw().keys("*").unwrap();
    assert_eq!(all(&store, Set::Active).await[0].found, Found::Record(b"last".to_vec()));
}

#[tokio::test]
async fn a_commit_that_comes_after_a_later_one_is_refused() {
    let world = Redis::new();
    let store = world.store("the first");
    store.acquire().await.unwrap();
    store.commit(&[put("a", "1")]).await.unwrap();
    // Simulates a later commit over another connection.
    let mut raw = world.server.raw();
    let last: u64 = raw.get("law:sequence").unwrap();
    let _: () = raw.set("law:sequence", last + 1_000).unwrap();
    assert!(unavailable(store.commit(&[put("a", "2"), put("b", "2")]).await).contains("a later commit came first"));
    let active = all(&store, Set::Active).await;
    assert_eq!((active.len(), &active[0].found), (1, &Found::Record(b"1".to_vec())));
    // A lease that is taken from here on counts from that commit.
    store.acquire().await.unwrap();
    store.commit(&[put("a", "3")]).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_full_refuses_the_whole_batch_in_its_own_words() {
    let world = Redis::new();
    let store = world.store("the first");
    store.acquire().await.unwrap();
    store.commit(&[put("a", "1"), put("b", "1")]).await.unwrap();
    let mut raw = world.server.raw();
    let _: () = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").query(&mut raw).unwrap();
    let forget = sandglass::ports::store::Write::Deactivate { member: b"b".into() };
    let words = unavailable(store.commit(&[forget, put("a", "2")]).await);
    assert!(words.contains("OOM"), "{words}");
    assert_eq!(all(&store, Set::Active).await.len(), 2, "nothing was done by halves");
    let _: () = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("0").query(&mut raw).unwrap();
    store.commit(&[put("a", "2")]).await.unwrap();
}

#[tokio::test]
async fn a_replica_refuses_in_its_own_words() {
    let world = Redis::new();
    let store = world.store("the first");
    store.acquire().await.unwrap();
    let mut raw = world.server.raw();
    let _: () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg("1").query(&mut raw).unwrap();
    let words = unavailable(store.commit(&[put("a", "1")]).await);
    assert!(words.contains("READONLY"), "{words}");
    let _: () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query(&mut raw).unwrap();
    store.commit(&[put("a", "1")]).await.unwrap();
}

#[tokio::test]
async fn a_password_works_and_never_shows() {
    let server = RedisServer::start_with(&["--requirepass", "sw0rdfish"]);
    let settings = |password: &str| Settings {
        url: format!("redis://:{password}@127.0.0.1:{}/", server.port()),
        ..Redis::settings_of("the first")
    };
    RedisStore::connect(settings("sw0rdfish")).unwrap().acquire().await.unwrap();
    let words = unavailable(RedisStore::connect(settings("sw0rdfishes")).unwrap().acquire().await);
    assert!(!words.contains("sw0rdfish"), "{words}");
    assert!(!format!("{:?}", settings("sw0rdfish")).contains("sw0rdfish"));
}

#[test]
fn a_url_that_cannot_work_is_refused_without_being_repeated() {
    for url in [
        "rediss://:sw0rdfish@h:x/",
        "redis+sentinel://:sw0rdfish@h",
        "redis+sentinel://:sw0rdfish@h/",
        "redis+sentinel://:sw0rdfish@h:x/service",
        "redis+sentinel://:sw0rdfish@h/service/x",
        "h:6379",
        "redis://:sw0rdfish@/",
        "http://:sw0rdfish@h/",
        "redis://:sw0rdfish@h:x/",
        "",
    ] {
        let settings = Settings { url: url.to_owned(), ..Redis::settings_of("the first") };
        let words = unavailable(RedisStore::connect(settings).map(|_| ()));
        assert!(words.contains("URL") && !words.contains("sw0rdfish"), "{words}");
    }
}

/// A port that leads to one of several servers; connections stay with the server they were made to.
struct Switch {
    address: std::net::SocketAddr,
    target: std::sync::Arc<std::sync::atomic::AtomicU16>,
    serving: tokio::task::JoinHandle<()>,
}

impl Switch {
    async fn to(port: u16) -> Self {
        use std::sync::atomic::{AtomicU16, Ordering};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, target) = (listener.local_addr().unwrap(), std::sync::Arc::new(AtomicU16::new(port)));
        let current = target.clone();
        let serving = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = current.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    let Ok(mut server) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, target, serving }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn replicate(server: &RedisServer, host: &str, port: &str) {
    let _: () = redis::cmd("REPLICAOF").arg(host).arg(port).query(&mut server.raw()).unwrap();
}

#[tokio::test]
async fn after_a_fail_over_behind_one_address_the_next_call_goes_to_the_new_primary() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    replicate(&new, "127.0.0.1", &old.port().to_string());
    let switch = Switch::to(old.port()).await;
    let url = format!("redis://{}/", switch.address);
    let store = RedisStore::connect(Settings { url, ..Redis::settings_of("the first") }).unwrap();
    store.acquire().await.unwrap();
    store.commit(&[put("a", "1")]).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !new.raw().exists::<_, bool>("law-session:a").unwrap() {
        assert!(tokio::time::Instant::now() < deadline, "nothing is replicated");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The old server still answers, but refuses writes.
    replicate(&new, "NO", "ONE");
    switch.target.store(new.port(), std::sync::atomic::Ordering::Relaxed);
    replicate(&old, "127.0.0.1", &new.port().to_string());
    store.commit(&[put("a", "2")]).await.unwrap();
    store.renew().await.unwrap();
    let record: String = new.raw().hget("law-session:a", "__sandbox__").unwrap();
    assert_eq!(record, "2");
}

#[tokio::test]
async fn a_replica_that_has_lost_its_primary_is_left_for_whoever_answers_at_the_address() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let switch = Switch::to(old.port()).await;
    let url = format!("redis://{}/", switch.address);
    let store = RedisStore::connect(Settings { url, ..Redis::settings_of("the first") }).unwrap();
    store.acquire().await.unwrap();
    let mut raw = old.raw();
    let _: () = redis::cmd("CONFIG").arg("SET").arg("replica-serve-stale-data").arg("no").query(&mut raw).unwrap();
    replicate(&old, "127.0.0.1", "1");
    switch.target.store(new.port(), std::sync::atomic::Ordering::Relaxed);
    assert_eq!(all(&store, Set::Active).await, []);
}
