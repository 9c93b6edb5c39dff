//! The laws that every store keeps.

use std::{collections::BTreeSet, time::Duration};

use sandglass::{
    domain::SandboxId,
    ports::store::{Cursor, Found, LastStop, Page, Quarantined, Store, StoreError, Stored, Write},
};

use crate::stores::{Set, World, all, page};

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn id(text: &str) -> SandboxId {
    SandboxId::parse(text).expect("an id")
}

pub(crate) fn put(name: &str, record: impl Into<Vec<u8>>) -> Write {
    Write::Put { id: id(name), record: record.into(), last_activity: 1_795_441_217.506_918 }
}

pub(crate) fn bury(name: &str, record: impl Into<Vec<u8>>, retention: Duration) -> Write {
    Write::Bury { id: id(name), record: record.into(), retention }
}

fn quarantine(member: &[u8], bytes: &[u8], reason: &str) -> Write {
    Write::Quarantine { member: member.to_vec(), bytes: bytes.to_vec(), reason: reason.to_owned(), at: 1_700_000_000.5 }
}

/// A supervisor that holds the lease.
async fn holder(world: &dyn World) -> Box<dyn Store> {
    let store = world.supervisor("the first");
    store.acquire().await.expect("the lease");
    store
}

fn names(entries: &[Stored]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.member).into_owned()).collect()
}

/// Checks that a refusal has a message.
pub(crate) fn assert_held<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Held { holder }) if !holder.trim().is_empty() => holder,
        other => panic!("expected a refusal with the holder's name, got {other:?}"),
    }
}

pub(crate) async fn what_is_put_comes_back_byte_for_byte(world: &dyn World) {
    let store = holder(world).await;
    let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let records = [("a", b"{}".to_vec()), ("A.b_c-d", every_byte), ("e", Vec::new())];
    for (index, (name, record)) in records.iter().enumerate() {
        let last_activity = 1_795_441_217.506_918 + index as f64 / 3.0;
        let write = Write::Put { id: id(name), record: record.clone(), last_activity };
        store.commit(&[write]).await.unwrap();
    }
    let entries = all(&*store, Set::Active).await;
    assert_eq!(entries.len(), records.len());
    for (index, (name, record)) in records.into_iter().enumerate() {
        let entry = entries.iter().find(|entry| entry.member == name.as_bytes()).unwrap();
        assert_eq!(entry.found, Found::Record(record), "{name}");
        assert_eq!(entry.score.to_bits(), (1_795_441_217.506_918 + index as f64 / 3.0).to_bits(), "{name}");
    }
    assert_eq!(all(&*store, Set::Tombstones).await, []);
}

pub(crate) async fn paging_leaves_nothing_out(world: &dyn World) {
    const COUNT: usize = 2_500;
    let store = holder(world).await;
    let batch: Vec<Write> = (0..COUNT).map(|n| put(&format!("s{n}"), format!("{{\"n\":{n}}}"))).collect();
    store.commit(&batch).await.unwrap();
    let (mut seen, mut last, mut pages) = (BTreeSet::new(), Page::default(), 0);
    loop {
        last = page(&*store, Set::Active, &last, 200).await.unwrap();
        pages += 1;
        for entry in last.entries.drain(..) {
            let name = String::from_utf8(entry.member).unwrap();
            assert_eq!(entry.found, Found::Record(format!("{{\"n\":{}}}", &name[1..]).into_bytes()));
            seen.insert(name);
        }
        if last.next.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), COUNT);
    assert!((5..=50).contains(&pages), "{pages} pages of about 200");
}

pub(crate) async fn paging_leaves_nothing_out_while_others_come_and_go(world: &dyn World) {
    let store = holder(world).await;
    let batch: Vec<Write> = (0..1_000).map(|n| put(&format!("s{n}"), "{}")).collect();
    store.commit(&batch).await.unwrap();
    let (mut seen, mut last, mut round) = (BTreeSet::new(), Page::default(), 0);
    loop {
        last = page(&*store, Set::Active, &last, 50).await.unwrap();
        seen.extend(names(&last.entries));
        if last.next.is_none() {
            break;
        }
        // Keep the even members, remove the odd ones, and add new ones.
        let goes = bury(&format!("s{}", round * 2 + 1), "{}", HOUR);
        let comes = put(&format!("new{round}"), "{}");
        store.commit(&[goes, comes]).await.unwrap();
        round += 1;
    }
    for stays in (0..1_000).step_by(2) {
        assert!(seen.contains(&format!("s{stays}")), "s{stays} was left out");
    }
}

pub(crate) async fn the_last_write_to_a_sandbox_wins_within_a_batch(world: &dyn World) {
    let store = holder(world).await;
    let lives = [put("lives", "1"), bury("lives", "2", HOUR), put("lives", "3")];
    let ended = [put("ended", "1"), put("ended", "2"), bury("ended", "3", HOUR)];
    store.commit(&[lives, ended].concat()).await.unwrap();
    let active = all(&*store, Set::Active).await;
    assert_eq!((names(&active), &active[0].found), (vec!["lives".to_owned()], &Found::Record(b"3".to_vec())));
    let tombstones = all(&*store, Set::Tombstones).await;
    assert_eq!((names(&tombstones), &tombstones[0].found), (vec!["ended".to_owned()], &Found::Record(b"3".to_vec())));
}

pub(crate) async fn what_is_buried_is_a_tombstone_until_it_expires(world: &dyn World) {
    let store = holder(world).await;
    store.commit(&[put("short", "1"), put("long", "1")]).await.unwrap();
    let retention = Duration::from_millis(300);
    store.commit(&[bury("short", "2", retention), bury("long", "2", HOUR)]).await.unwrap();
    assert_eq!(all(&*store, Set::Active).await, []);
    world.pass(retention + Duration::from_millis(1)).await;
    let tombstones = all(&*store, Set::Tombstones).await;
    assert_eq!(names(&tombstones), ["long"]);
    assert_eq!(tombstones[0].found, Found::Record(b"2".to_vec()));
    // The score is the time of expiry, in about an hour.
    store.commit(&[bury("later", "3", HOUR * 2)]).await.unwrap();
    let tombstones = all(&*store, Set::Tombstones).await;
    assert_eq!(names(&tombstones), ["later", "long"]);
    let apart = tombstones[0].score - tombstones[1].score;
    assert!((3_599.0..3_660.0).contains(&apart), "{apart} s apart");
}

pub(crate) async fn what_is_buried_can_live_again(world: &dyn World) {
    let store = holder(world).await;
    let retention = Duration::from_millis(200);
    store.commit(&[bury("again", "1", retention)]).await.unwrap();
    store.commit(&[put("again", "2")]).await.unwrap();
    assert_eq!(all(&*store, Set::Tombstones).await, []);
    world.pass(retention + Duration::from_millis(1)).await;
    let active = all(&*store, Set::Active).await;
    assert_eq!((names(&active), &active[0].found), (vec!["again".to_owned()], &Found::Record(b"2".to_vec())));
}

pub(crate) async fn what_is_forgotten_leaves_the_set_and_keeps_its_record(world: &dyn World) {
    let store = holder(world).await;
    store.commit(&[put("stays", "1"), put("goes", "2")]).await.unwrap();
    let forget = |member: &[u8]| Write::Deactivate { member: member.to_vec() };
    store.commit(&[forget(b"goes"), forget(b"never there"), forget(b"\xff\x00")]).await.unwrap();
    assert_eq!(names(&all(&*store, Set::Active).await), ["stays"]);
    assert_eq!(all(&*store, Set::Tombstones).await, []);
    store.release().await.unwrap();
    assert_eq!(world.left("goes").as_deref(), Some(&b"2"[..]));
}

pub(crate) async fn one_that_lives_is_read_by_itself_and_nothing_else_is(world: &dyn World) {
    let store = holder(world).await;
    store.commit(&[put("a", "1"), put("ab", "2"), put("buried", "3"), put("left", "4")]).await.unwrap();
    store.commit(&[bury("buried", "5", HOUR), Write::Deactivate { member: b"left".into() }]).await.unwrap();
    let all = all(&*store, Set::Active).await;
    assert_eq!(store.get(&id("a")).await.unwrap().as_ref(), all.iter().find(|stored| stored.member == b"a"));
    assert_eq!(store.get(&id("ab")).await.unwrap().map(|stored| stored.found), Some(Found::Record(b"2".to_vec())));
    for nobody in ["buried", "left", "never"] {
        assert_eq!(store.get(&id(nobody)).await.unwrap(), None, "{nobody}");
    }
}

pub(crate) async fn what_is_in_quarantine_comes_back_byte_for_byte(world: &dyn World) {
    let store = holder(world).await;
    let damaged: [(&[u8], &[u8]); 4] =
        [(b"text", b"{\"status\": 7}"), (b"\xfe\xff\0", b"\x80\x00\xff"), (b"base64:AA==", b"not json"), (b"", b"")];
    let batch: Vec<Write> = damaged.iter().map(|(member, bytes)| quarantine(member, bytes, "first")).collect();
    store.commit(&batch).await.unwrap();
    let reason = "field `status`: \u{fc}ber \"quoted\"\n";
    let batch: Vec<Write> = damaged.iter().map(|(member, bytes)| quarantine(member, bytes, reason)).collect();
    store.commit(&batch).await.unwrap();
    let mut found = store.quarantined().await.unwrap();
    found.sort_by(|one, other| one.member.cmp(&other.member));
    let mut expected: Vec<Quarantined> = damaged
        .map(|(member, bytes)| Quarantined {
            member: member.to_vec(),
            bytes: bytes.to_vec(),
            reason: reason.to_owned(),
            at: 1_700_000_000.5,
        })
        .into();
    expected.sort_by(|one, other| one.member.cmp(&other.member));
    assert_eq!(found, expected);
}

pub(crate) async fn a_batch_of_many_thousand_writes_is_applied_whole(world: &dyn World) {
    let store = holder(world).await;
    let record = vec![b'x'; 700];
    let mut batch: Vec<Write> = (0..5_000).map(|n| put(&format!("s{n}"), record.clone())).collect();
    // Order holds across the whole batch.
    batch.push(bury("s0", "end", HOUR));
    store.commit(&batch).await.unwrap();
    assert_eq!(all(&*store, Set::Active).await.len(), 4_999);
    assert_eq!(names(&all(&*store, Set::Tombstones).await), ["s0"]);
}

pub(crate) async fn what_was_written_is_there_after_a_restart(world: &dyn World) {
    let store = holder(world).await;
    store.commit(&[put("lives", "1"), bury("ended", "2", HOUR), quarantine(b"odd", b"\xff", "why")]).await.unwrap();
    store.release().await.unwrap();
    drop(store);
    let store = world.supervisor("the second");
    store.acquire().await.unwrap();
    assert_eq!(names(&all(&*store, Set::Active).await), ["lives"]);
    assert_eq!(names(&all(&*store, Set::Tombstones).await), ["ended"]);
    assert_eq!(store.quarantined().await.unwrap().len(), 1);
}

pub(crate) async fn a_second_supervisor_is_told_who_holds_the_lease(world: &dyn World) {
    let first = holder(world).await;
    let second = world.supervisor("the second");
    let renewals = async {
        loop {
            first.renew().await.expect("to keep the lease");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let holder = tokio::select! {
        result = second.acquire() => assert_held(result),
        () = renewals => unreachable!(),
    };
    assert!(holder.contains("the first"), "{holder}");
    assert_held(second.commit(&[put("a", "1")]).await);
    assert_held(second.renew().await);
    second.release().await.unwrap();
    first.commit(&[put("b", "1")]).await.unwrap();
    assert_eq!(names(&all(&*first, Set::Active).await), ["b"]);
}

pub(crate) async fn a_released_lease_can_be_taken_at_once(world: &dyn World) {
    let first = holder(world).await;
    first.release().await.unwrap();
    first.release().await.unwrap();
    let second = world.supervisor("the second");
    second.acquire().await.unwrap();
    second.commit(&[put("a", "1")]).await.unwrap();
    second.release().await.unwrap();
    first.acquire().await.unwrap();
    first.commit(&[put("b", "1")]).await.unwrap();
    assert_eq!(names(&all(&*first, Set::Active).await), ["a", "b"]);
}

pub(crate) async fn a_clean_stop_is_told_to_the_next_one_and_to_nobody_after_it(world: &dyn World) {
    let first = holder(world).await;
    first.commit(&[put("a", "1")]).await.unwrap();
    let (silent_for, pause) = (Duration::from_secs(3), Duration::from_millis(200));
    first.hand_over(silent_for).await.unwrap();
    assert_held(first.commit(&[put("a", "2")]).await);
    world.pass(pause).await;
    let second = world.supervisor("the second");
    let LastStop::Clean { ago } = second.acquire().await.unwrap() else { panic!("the clean stop is not told") };
    // Times are kept to the millisecond.
    let least = silent_for + pause - Duration::from_millis(2);
    assert!((least..least + Duration::from_secs(20)).contains(&ago), "{ago:?}");
    assert_eq!(names(&all(&*second, Set::Active).await), ["a"]);
    second.release().await.unwrap();
    assert_eq!(world.supervisor("the third").acquire().await, Ok(LastStop::Unclean));
}

pub(crate) async fn a_stop_that_is_not_known_to_be_clean_is_not_told_as_one(world: &dyn World) {
    let first = world.supervisor("the first");
    assert_eq!(first.acquire().await, Ok(LastStop::Unclean), "there was nobody");
    assert_eq!(first.acquire().await, Ok(LastStop::Unclean), "it did not stop");
    first.release().await.unwrap();
    let second = world.supervisor("the second");
    second.hand_over(Duration::ZERO).await.unwrap();
    assert_eq!(second.acquire().await, Ok(LastStop::Unclean), "who had nothing to give back left a note");
    second.hand_over(Duration::ZERO).await.unwrap();
    second.hand_over(Duration::ZERO).await.unwrap();
    assert!(matches!(first.acquire().await, Ok(LastStop::Clean { .. })));
    // A crash after some writes.
    drop(first);
    if let Ok(last) = second.acquire().await {
        assert_eq!(last, LastStop::Unclean);
    }
}

pub(crate) async fn a_standby_takes_the_lease_when_it_is_given_back_and_disturbs_nobody_before(world: &dyn World) {
    let (first, second) = (holder(world).await, world.supervisor("the second"));
    for round in 0..5 {
        let holder = assert_held(second.try_acquire().await);
        assert!(holder.contains("the first"), "{holder}");
        first.commit(&[put("a", round.to_string())]).await.unwrap();
        first.renew().await.unwrap();
        assert_held(second.commit(&[put("a", "stolen")]).await);
    }
    first.hand_over(Duration::ZERO).await.unwrap();
    assert!(matches!(second.try_acquire().await, Ok(LastStop::Clean { .. })));
    second.commit(&[put("b", "1")]).await.unwrap();
    assert_eq!(names(&all(&*second, Set::Active).await), ["a", "b"]);
    // A second crash, with some writes missing.
    assert!(assert_held(first.try_acquire().await).contains("the second"));
    second.release().await.unwrap();
    assert_eq!(first.try_acquire().await, Ok(LastStop::Unclean));
    first.commit(&[put("c", "1")]).await.unwrap();
}

pub(crate) async fn a_standby_takes_a_free_lease_at_once(world: &dyn World) {
    let first = world.supervisor("the first");
    assert_eq!(first.try_acquire().await, Ok(LastStop::Unclean));
    first.commit(&[put("a", "1")]).await.unwrap();
    assert_held(world.supervisor("the second").try_acquire().await);
}

pub(crate) async fn nothing_is_written_without_the_lease(world: &dyn World) {
    let store = world.supervisor("the first");
    assert_held(store.commit(&[put("a", "1")]).await);
    assert_held(store.renew().await);
    store.acquire().await.unwrap();
    assert_eq!(all(&*store, Set::Active).await, []);
}

pub(crate) async fn nothing_is_written_after_the_lease_was_given_back(world: &dyn World) {
    let store = holder(world).await;
    store.commit(&[put("a", "1")]).await.unwrap();
    store.release().await.unwrap();
    assert_held(store.commit(&[put("a", "2"), put("b", "2")]).await);
    assert_held(store.renew().await);
    store.acquire().await.unwrap();
    let active = all(&*store, Set::Active).await;
    assert_eq!((names(&active), &active[0].found), (vec!["a".to_owned()], &Found::Record(b"1".to_vec())));
}

pub(crate) async fn nothing_is_written_after_the_lease_was_taken_away(world: &dyn World) {
    let store = holder(world).await;
    store.commit(&[put("a", "1")]).await.unwrap();
    world.usurp();
    let writes =
        [put("a", "2"), bury("a", "3", HOUR), quarantine(b"x", b"y", "z"), Write::Deactivate { member: b"a".into() }];
    assert_held(store.commit(&writes).await);
    assert_held(store.commit(&writes).await);
    assert_held(store.renew().await);
    let active = all(&*store, Set::Active).await;
    assert_eq!((names(&active), &active[0].found), (vec!["a".to_owned()], &Found::Record(b"1".to_vec())));
    assert_eq!(all(&*store, Set::Tombstones).await, []);
    assert_eq!(store.quarantined().await.unwrap(), []);
}

pub(crate) async fn taking_and_keeping_the_lease_again_changes_nothing(world: &dyn World) {
    let store = holder(world).await;
    store.commit(&[put("a", "1")]).await.unwrap();
    store.renew().await.unwrap();
    store.acquire().await.unwrap();
    store.commit(&[put("b", "1")]).await.unwrap();
    assert_eq!(names(&all(&*store, Set::Active).await), ["a", "b"]);
}

pub(crate) async fn a_batch_of_nothing_is_fine(world: &dyn World) {
    let store = holder(world).await;
    store.commit(&[]).await.unwrap();
    assert_eq!(all(&*store, Set::Active).await, []);
    assert_eq!(store.quarantined().await.unwrap(), []);
}

pub(crate) async fn a_cursor_of_somebody_else_is_no_empty_page(world: &dyn World) {
    let store = holder(world).await;
    store.commit(&[put("a", "1")]).await.unwrap();
    match store.active(Some(Cursor(b"!".to_vec())), 10).await {
        Ok(page) => assert_eq!(names(&page.entries), ["a"]),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(crate) async fn what_lives_and_has_no_record_is_missing_and_nothing_else(world: &dyn World) {
    let store = holder(world).await;
    let many: Vec<Write> = (0..1_500).map(|n| put(&format!("s{n}"), "{}")).collect();
    store.commit(&many).await.unwrap();
    store.commit(&[bury("s7", "{}", HOUR)]).await.unwrap();
    let mut ids: Vec<SandboxId> = (0..1_500).map(|n| id(&format!("s{n}"))).collect();
    ids.push(id("never"));
    assert_eq!(store.missing(&ids).await.unwrap(), [id("s7"), id("never")]);
    assert_eq!(store.missing(&[]).await.unwrap(), []);
}

pub(crate) async fn the_grace_that_is_used_up_is_told_to_the_next_one_until_a_run_outlives_it(world: &dyn World) {
    let store = holder(world).await;
    assert_eq!(store.grace_spent().await.unwrap(), Duration::ZERO);
    store.spend_grace(Duration::ZERO).await.unwrap();
    store.spend_grace(Duration::from_millis(1_500)).await.unwrap();
    store.spend_grace(Duration::from_millis(2_500)).await.unwrap();
    store.release().await.unwrap();
    let next = world.supervisor("the second");
    next.acquire().await.unwrap();
    assert_eq!(next.grace_spent().await.unwrap(), Duration::from_millis(2_500));
    store.spend_grace(HOUR).await.unwrap_err();
    next.spend_grace(Duration::ZERO).await.unwrap();
    assert_eq!(next.grace_spent().await.unwrap(), Duration::ZERO);
}

pub(crate) async fn a_store_keeps_its_id_and_no_other_store_has_it<W: World>(world: &W) {
    let first = world.supervisor("the first");
    first.acquire().await.unwrap();
    let id = first.id().await.unwrap();
    assert!(!id.is_empty());
    assert_eq!(first.id().await.unwrap(), id);
    first.release().await.unwrap();
    let second = world.supervisor("the second");
    second.acquire().await.unwrap();
    assert_eq!(second.id().await.unwrap(), id);
    let elsewhere = W::new();
    let other = elsewhere.supervisor("of another store");
    other.acquire().await.unwrap();
    assert_ne!(other.id().await.unwrap(), id);
}
