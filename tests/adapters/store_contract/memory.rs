//! What the store in memory promises to the tests that use it.

use std::time::Duration;

use sandglass::{
    ports::store::{Found, Store, StoreError},
    store::{MemoryStore, memory::Point},
};

use super::laws::{assert_held, bury, id, put};

fn error() -> StoreError {
    StoreError::Unavailable("on purpose".to_owned())
}

async fn holder() -> MemoryStore {
    let store = MemoryStore::new();
    store.acquire().await.unwrap();
    store
}

#[tokio::test]
async fn a_planned_failure_happens_as_often_as_planned_and_does_nothing() {
    let store = holder().await;
    store.fail_next(Point::Commit, 2, error());
    for _ in 0..2 {
        assert_eq!(store.commit(&[put("a", "1")]).await, Err(error()));
    }
    assert_eq!((store.record("a"), store.written().commits), (None, 0));
    store.commit(&[put("a", "1")]).await.unwrap();
    assert_eq!(store.record("a").as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn a_lost_answer_leaves_the_effect() {
    let store = holder().await;
    store.fail_next_after_effect(Point::Commit, 1, error());
    assert_eq!(store.commit(&[put("a", "1")]).await, Err(error()));
    assert_eq!(store.record("a").as_deref(), Some(&b"1"[..]));
    store.commit(&[put("a", "2")]).await.unwrap();
    assert_eq!((store.written().commits, store.written().writes), (2, 2));
}

#[tokio::test]
async fn a_store_that_is_down_stays_down_until_it_is_healed() {
    let store = holder().await;
    store.go_down();
    for _ in 0..3 {
        assert!(store.get(&id("a")).await.is_err() && store.active(None, 10).await.is_err());
    }
    store.heal(Point::Get);
    assert!(store.get(&id("a")).await.is_ok() && store.active(None, 10).await.is_err());
    store.heal_all();
    store.commit(&[put("a", "1")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn slow_calls_and_tombstones_go_with_paused_time() {
    let store = holder().await;
    store.delay(Point::Commit, Duration::from_secs(3_600));
    let began = tokio::time::Instant::now();
    store.commit(&[bury("a", "1", Duration::from_secs(60))]).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(3_600));
    assert_eq!(store.tombstone_members().len(), 1);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(store.tombstone_members(), []);
}

#[tokio::test]
async fn a_hanging_call_does_its_work_once_it_is_healed() {
    let store = holder().await;
    store.hang(Point::Commit);
    let other = store.clone();
    let commit = tokio::spawn(async move { other.commit(&[put("a", "1")]).await });
    tokio::task::yield_now().await;
    assert_eq!(store.record("a"), None);
    store.heal(Point::Commit);
    commit.await.unwrap().unwrap();
    assert!(store.record("a").is_some());
}

#[tokio::test]
async fn a_dead_supervisor_is_replaced_and_a_living_one_is_not() {
    let first = holder().await;
    let second = first.reopen_as("the second");
    assert_held(second.acquire().await);
    drop(first);
    second.acquire().await.unwrap();
    let third = second.reopen_as("the third");
    second.bury_holder();
    third.acquire().await.unwrap();
    assert!(assert_held(second.commit(&[put("a", "1")]).await).contains("the third"));
}

#[tokio::test]
async fn what_is_planted_is_found() {
    let store = holder().await;
    store.keep_log();
    store.plant_member(b"\xff".to_vec(), 1.0);
    store.plant("odd", 2.0, "{");
    store.plant_foreign("list", 3.0, "a list");
    let found: Vec<Found> =
        store.active(None, 10).await.unwrap().entries.into_iter().map(|entry| entry.found).collect();
    assert_eq!(found, [Found::Foreign("a list".to_owned()), Found::Record(b"{".to_vec()), Found::Nothing]);
    store.commit(&[put("a", "1")]).await.unwrap();
    assert_eq!(store.log(), [vec![put("a", "1")]]);
    store.wipe();
    assert_eq!((store.active_members(), store.holder()), (vec![], None));
}

#[tokio::test]
async fn a_standby_leaves_a_store_that_lost_everything_to_its_holder() {
    let first = holder().await;
    let standby = first.reopen_as("a standby");
    first.wipe();
    assert_held(standby.try_acquire().await);
    first.commit(&[put("a", "1")]).await.unwrap();
    assert_held(standby.try_acquire().await);
}
