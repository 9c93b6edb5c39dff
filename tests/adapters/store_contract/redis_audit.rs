//! A Redis server that lost data, or whose settings allow that (`design::persistence::lost_data`).

use redis::Commands;
use sandglass::{
    ports::store::{DataState, Found, Store},
    store::RedisStore,
};

use super::laws::{id, put};
use crate::{
    stores::{Redis, World},
    support::redis::RedisServer,
};

#[tokio::test]
async fn a_server_that_comes_back_empty_before_the_first_commit_of_a_run_is_noticed() {
    let mut world = Redis::new();
    let first = world.store("the first");
    first.acquire().await.unwrap();
    first.commit(&[put("a", "1")]).await.unwrap();
    first.hand_over(std::time::Duration::ZERO).await.unwrap();
    let second = world.store("the second");
    second.acquire().await.unwrap();
    assert_eq!(second.renew().await, Ok(DataState::Kept));
    world.server.restart();
    assert_eq!(second.renew().await, Ok(DataState::Reverted));
    assert_eq!(second.renew().await, Ok(DataState::Kept), "said once");
    // The same before anything was written, and when a commit is the first to notice.
    world.server.restart();
    assert_eq!(second.renew().await, Ok(DataState::Reverted));
    world.server.restart();
    assert_eq!(second.commit(&[put("a", "2")]).await, Ok(DataState::Reverted));
    assert_eq!(second.commit(&[put("a", "3")]).await, Ok(DataState::Kept));
}

#[tokio::test]
async fn the_keys_that_prove_continuity_are_missed_each_by_itself() {
    let world = Redis::new();
    let store = world.store("the first");
    for committed in [false, true] {
        store.acquire().await.unwrap();
        if committed {
            store.commit(&[put("a", "1")]).await.unwrap();
        }
        for key in ["law:epoch", "law:sequence"] {
            assert_eq!(world.server.raw().del::<_, u8>(key), Ok(1), "{key}");
            assert_eq!(store.renew().await, Ok(DataState::Reverted), "{key}");
            assert_eq!(store.renew().await, Ok(DataState::Kept), "{key}");
            store.commit(&[put("a", "2")]).await.unwrap();
            assert_eq!(store.renew().await, Ok(DataState::Kept), "{key}");
        }
        // The lease alone may just have expired, which proves nothing.
        let _: () = world.server.raw().del("law:lease").unwrap();
        assert_eq!(store.renew().await, Ok(DataState::Kept));
    }
}

#[tokio::test]
async fn a_record_a_field_a_member_and_the_whole_set_are_missed() {
    let world = Redis::new();
    let store = world.store("the first");
    store.acquire().await.unwrap();
    let ids = ["a", "b", "c", "d"].map(id);
    store.commit(&["a", "b", "c", "d"].map(|name| put(name, "1"))).await.unwrap();
    let mut raw = world.server.raw();
    let _: () = raw.del("law-session:a").unwrap();
    let _: () = raw.hset("law-session:b", "others", "stay").unwrap();
    let _: () = raw.hdel("law-session:b", "__sandbox__").unwrap();
    let _: () = raw.zrem("law:active", "c").unwrap();
    for (id, found) in [(&ids[0], Some(Found::Nothing)), (&ids[1], Some(Found::Nothing)), (&ids[2], None)] {
        assert_eq!(store.get(id).await.unwrap().map(|stored| stored.found), found, "{id}");
    }
    assert_eq!(store.missing(&ids).await.unwrap(), ids[..3]);
    store.commit(&["a", "b", "c"].map(|name| put(name, "2"))).await.unwrap();
    assert_eq!(store.missing(&ids).await.unwrap(), []);
    let _: () = raw.del("law:active").unwrap();
    assert_eq!(store.missing(&ids).await.unwrap(), ids);
    // A foreign value in the place of a record.
    store.commit(&["a", "b", "c", "d"].map(|name| put(name, "3"))).await.unwrap();
    let _: () = raw.del("law-session:d").unwrap();
    let _: () = raw.set("law-session:d", "text").unwrap();
    assert_eq!(store.missing(&ids).await.unwrap(), ids[3..]);
}

#[tokio::test]
async fn a_policy_that_evicts_is_told_also_by_a_server_that_forbids_its_settings() {
    let open = RedisServer::start();
    let closed = RedisServer::start_with(&["--rename-command", "CONFIG", "", "--maxmemory-policy", "allkeys-lru"]);
    let store = |server: &RedisServer| {
        let settings = sandglass::store::redis::Settings { url: server.url(), ..Redis::settings_of("the first") };
        RedisStore::connect(settings).unwrap()
    };
    let (first, second) = (store(&open), store(&closed));
    assert_eq!(first.hazards().await.unwrap(), Vec::<String>::new());
    let set = |name: &str, value: &str| {
        let _: () = redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query(&mut open.raw()).unwrap();
    };
    set("maxmemory-policy", "volatile-ttl");
    let told = first.hazards().await.unwrap();
    assert!(told.len() == 1 && told[0].contains("volatile-ttl") && told[0].contains("lease"), "{told:?}");
    set("maxmemory-policy", "allkeys-lfu");
    set("maxmemory", "100mb");
    let told = first.hazards().await.unwrap();
    assert!(told.len() == 1 && told[0].contains("allkeys-lfu") && told[0].contains("records"), "{told:?}");
    let told = second.hazards().await.unwrap();
    assert!(told.len() == 1 && told[0].contains("allkeys-lru"), "{told:?}");
}
