//! The layout in Redis, checked with raw commands (`design::persistence::redis_layout`), and foreign data there.

use std::time::Duration;

use redis::Commands;
use sandglass::ports::store::{Found, Store, StoreError, Write};

use super::laws::{bury, put};
use crate::stores::{PREFIX, Redis, Set, World, all};

async fn holder(world: &Redis) -> sandglass::store::RedisStore {
    let store = world.store("the first");
    store.acquire().await.unwrap();
    store
}

fn key(rest: &str) -> String {
    format!("{PREFIX}{rest}")
}

#[tokio::test]
async fn the_keys_are_those_of_the_design() {
    let world = Redis::new();
    let store = holder(&world).await;
    let mut raw = world.server.raw();
    store.commit(&[put("lives", "{1}"), put("ended", "{2}")]).await.unwrap();
    let quarantine =
        Write::Quarantine { member: b"odd".into(), bytes: b"{".into(), reason: "why".into(), at: 1_700_000_000.5 };
    store.commit(&[bury("ended", "{3}", Duration::from_secs(60)), quarantine]).await.unwrap();

    let mut keys: Vec<String> = raw.keys("*").unwrap();
    keys.sort();
    let rest = [
        "-session:ended",
        "-session:lives",
        ":active",
        ":epoch",
        ":identity",
        ":lease",
        ":quarantine",
        ":sequence",
        ":tombstones",
    ];
    assert_eq!(keys, rest.map(key));
    let hash: Vec<(String, String)> = raw.hgetall(key("-session:lives")).unwrap();
    assert_eq!(hash, [("__sandbox__".to_owned(), "{1}".to_owned())]);
    assert_eq!(raw.ttl::<_, i64>(key("-session:lives")).unwrap(), -1);
    let active: Vec<(String, f64)> = raw.zrange_withscores(key(":active"), 0, -1).unwrap();
    assert_eq!(active, [("lives".to_owned(), 1_795_441_217.506_918)]);

    assert_eq!(raw.hget::<_, _, String>(key("-session:ended"), "__sandbox__").unwrap(), "{3}");
    assert!((50_000..=60_000).contains(&raw.pttl::<_, i64>(key("-session:ended")).unwrap()));
    let tombstones: Vec<(String, f64)> = raw.zrange_withscores(key(":tombstones"), 0, -1).unwrap();
    let (now, _): (f64, f64) = redis::cmd("TIME").query(&mut raw).unwrap();
    assert_eq!(tombstones[0].0, "ended");
    assert!((50.0..=61.0).contains(&(tombstones[0].1 - now)));

    let entry: String = raw.hget(key(":quarantine"), "odd").unwrap();
    let entry: serde_json::Value = serde_json::from_str(&entry).unwrap();
    assert_eq!(entry, serde_json::json!({"reason": "why", "at": 1_700_000_000.5, "text": "{"}));
}

#[tokio::test]
async fn fields_of_others_and_their_expiry_meet_their_rule() {
    let world = Redis::new();
    let store = holder(&world).await;
    let mut raw = world.server.raw();
    let _: () = raw.hset_multiple(key("-session:1001"), &[("__sandbox__", "old"), ("task:7", "theirs")]).unwrap();
    let _: () = raw.expire(key("-session:1001"), 86_400).unwrap();
    store.commit(&[put("1001", "new")]).await.unwrap();
    assert_eq!(raw.hget::<_, _, String>(key("-session:1001"), "task:7").unwrap(), "theirs");
    assert_eq!(raw.hget::<_, _, String>(key("-session:1001"), "__sandbox__").unwrap(), "new");
    assert_eq!(raw.ttl::<_, i64>(key("-session:1001")).unwrap(), -1, "what lives does not expire");
    store.commit(&[Write::Deactivate { member: b"1001".into() }]).await.unwrap();
    assert_eq!(raw.hlen::<_, usize>(key("-session:1001")).unwrap(), 2);
}

#[tokio::test]
async fn members_of_any_bytes_are_read_and_can_be_forgotten() {
    let world = Redis::new();
    let store = holder(&world).await;
    let mut raw = world.server.raw();
    let member = b"\xff\x00 \r\n\xc3".to_vec();
    let _: () = raw.zadd(key(":active"), &member, 12.5).unwrap();
    let _: () = raw.zadd(key(":active"), "list", 1).unwrap();
    let _: () = raw.lpush(key("-session:list"), "x").unwrap();
    let _: () = raw.zadd(key(":active"), "others", 2).unwrap();
    let _: () = raw.hset(key("-session:others"), "task:7", "theirs").unwrap();
    let entries = all(&store, Set::Active).await;
    assert_eq!(entries.len(), 3);
    assert_eq!((&entries[2].member, entries[2].score, &entries[2].found), (&member, 12.5, &Found::Nothing));
    assert!(matches!(&entries[0].found, Found::Foreign(words) if words.contains("law-session:list")), "{entries:?}");
    assert_eq!(entries[1].found, Found::Nothing);
    store.commit(&[Write::Deactivate { member }]).await.unwrap();
    assert_eq!(all(&store, Set::Active).await.len(), 2);
}

#[tokio::test]
async fn a_key_in_a_records_place_is_renamed_and_kept() {
    let world = Redis::new();
    let store = holder(&world).await;
    let mut raw = world.server.raw();
    for round in ["first", "second"] {
        let _: () = raw.del(key("-session:b")).unwrap();
        let _: () = raw.lpush(key("-session:b"), round).unwrap();
        store.commit(&[put("a", "1"), put("b", "2"), put("c", "3")]).await.unwrap();
        assert_eq!(raw.hget::<_, _, String>(key("-session:b"), "__sandbox__").unwrap(), "2");
    }
    assert_eq!(all(&store, Set::Active).await.len(), 3);
    assert_eq!(raw.lrange::<_, Vec<String>>(key(":foreign:b"), 0, -1).unwrap(), ["first"]);
    assert_eq!(raw.lrange::<_, Vec<String>>(key(":foreign:b:2"), 0, -1).unwrap(), ["second"]);
}

#[tokio::test]
async fn a_set_of_a_wrong_type_is_an_error_that_names_it_and_nothing_is_written_by_halves() {
    for (rest, value_is_string) in [(":active", true), (":tombstones", true), (":quarantine", true), (":lease", false)]
    {
        let world = Redis::new();
        let store = holder(&world).await;
        let mut raw = world.server.raw();
        let _: () = raw.del(key(rest)).unwrap();
        let _: () = if value_is_string { raw.set(key(rest), "x") } else { raw.lpush(key(rest), "x") }.unwrap();
        let error = store.commit(&[put("a", "1"), bury("b", "2", Duration::from_secs(9))]).await.unwrap_err();
        assert!(matches!(&error, StoreError::Unavailable(words) if words.contains(&key(rest))), "{error}");
        let sessions: Vec<String> = raw.keys(key("-session:*")).unwrap();
        assert_eq!(sessions, Vec::<String>::new(), "{rest}");
        match rest {
            ":active" => assert!(store.active(None, 10).await.unwrap_err().to_string().contains(&key(rest))),
            ":tombstones" => assert!(store.tombstones(None, 10).await.unwrap_err().to_string().contains(&key(rest))),
            ":quarantine" => assert!(store.quarantined().await.unwrap_err().to_string().contains(&key(rest))),
            _ => assert!(store.acquire().await.unwrap_err().to_string().contains(&key(rest))),
        }
    }
}

#[tokio::test]
async fn expired_tombstones_leave_their_set() {
    let world = Redis::new();
    let store = holder(&world).await;
    let mut raw = world.server.raw();
    let _: () = raw.zadd(key(":tombstones"), "ancient", 1).unwrap();
    let _: () = raw.zadd(key(":tombstones"), "without a record", 9e12).unwrap();
    assert_eq!(all(&store, Set::Tombstones).await, []);
    assert_eq!(raw.zrange::<_, Vec<String>>(key(":tombstones"), 0, -1).unwrap(), ["without a record"]);
    let _: () = raw.zadd(key(":tombstones"), "ancient", 1).unwrap();
    store.commit(&[bury("b", "2", Duration::from_secs(9))]).await.unwrap();
    assert_eq!(raw.zcard::<_, usize>(key(":tombstones")).unwrap(), 2, "a burial cleans up");
}

#[tokio::test]
async fn times_that_are_none_do_not_keep_a_batch_from_being_written() {
    let world = Redis::new();
    let store = holder(&world).await;
    let write =
        |name: &str, last_activity| Write::Put { id: super::laws::id(name), record: b"{}".to_vec(), last_activity };
    let batch =
        [write("nan", f64::NAN), write("far", f64::INFINITY), write("huge", 1e300), bury("old", "{}", Duration::MAX)];
    store.commit(&batch).await.unwrap();
    assert_eq!(all(&store, Set::Active).await.len(), 3);
    assert_eq!(all(&store, Set::Tombstones).await.len(), 1);
}
