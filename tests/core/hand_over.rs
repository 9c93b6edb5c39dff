//! The change from one supervisor to the next: its graces, and how it waits for the lease (`design::persistence::lease`).

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sandglass::{
    domain::{ActivitySource, EndReason},
    ports::store::StoreError,
    sandboxes::{RequestError, ServingPhase},
    store::memory::Point,
};
use tokio::time::{Instant, sleep};

use crate::support::bench::{Bench, id, idle, supervisor, wall_clock};

const SECOND: Duration = Duration::from_secs(1);

/// Waits for the end of a sandbox that is due, and returns how long that took.
async fn ended(bench: &Bench, within: Duration) -> Duration {
    let began = Instant::now();
    bench.until(within, || bench.runtime.is_empty()).await;
    began.elapsed()
}

#[actix_web::test]
async fn after_a_clean_stop_a_deadline_right_after_the_restart_is_met_within_a_second() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("due", 100)).await;
    sleep(99 * SECOND).await;
    // A ping was acknowledged just now, so the whole timeout begins anew.
    bench.supervisor.touch(&id("due"), ActivitySource::Ping).await.expect("alive");
    let pinged = Instant::now();
    sleep(100 * SECOND - Duration::from_millis(100)).await;
    let bench = bench.stop_and_restart().await;
    ended(&bench, SECOND).await;
    let lived = pinged.elapsed();
    assert!((100 * SECOND..101 * SECOND).contains(&lived), "{lived:?}");
    let gone = bench.supervisor.get(&id("due")).await.expect("a tombstone");
    assert_eq!(gone.end().expect("an end").reason, EndReason::Idle);
}

#[actix_web::test]
async fn activity_that_a_crash_may_have_lost_counts_after_any_number_of_clean_stops() {
    let bench = Bench::new(&[("lifecycle.restart_grace", "1")]).await;
    bench.create(idle("used", 100)).await;
    bench.create(idle("unused", 100)).await;
    sleep(10 * SECOND).await;
    bench.supervisor.touch(&id("used"), ActivitySource::Ping).await.expect("stored");
    sleep(SECOND / 2).await;
    bench.supervisor.touch(&id("used"), ActivitySource::Ping).await.expect("in memory");
    let pinged = Instant::now();
    let mut bench = bench.crash_and_restart().await;
    for _ in 0..3 {
        sleep(SECOND).await;
        bench = bench.stop_and_restart().await;
    }
    let deadline = |name: &'static str| {
        let (supervisor, now) = (bench.supervisor.clone(), bench.supervisor.now());
        async move { supervisor.get(&id(name)).await.expect("alive").idle_deadline().expect("one").since(now.moment) }
    };
    let left = deadline("used").await + pinged.elapsed();
    assert!((100 * SECOND..101 * SECOND).contains(&left), "{left:?}");
    // Once it is used again, nothing is owed.
    bench.supervisor.touch(&id("unused"), ActivitySource::Ping).await.expect("alive");
    bench = bench.stop_and_restart().await;
    let unused = bench.supervisor.get(&id("unused")).await.expect("alive");
    assert_eq!(unused.idle_slack(), Duration::ZERO);
}

#[actix_web::test]
async fn after_a_clean_stop_clients_get_as_long_as_nobody_answered() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("overdue", 5)).await;
    bench.create(idle("used", 5)).await;
    bench.supervisor.shutdown(SECOND).await;
    sleep(10 * SECOND).await;
    let store = bench.store.reopen();
    let bench = bench.start_on(store).await;
    sleep(10 * SECOND).await;
    bench.supervisor.touch(&id("used"), ActivitySource::Ping).await.expect("alive: nobody could ping");
    assert_eq!(bench.runtime.len(), 2, "ended before anybody could have pinged");
    sleep(SECOND).await;
    assert_eq!(bench.runtime.len(), 1, "the grace is longer than what it is for");
}

#[actix_web::test]
async fn after_an_unclean_stop_the_whole_grace_holds() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("due", 10)).await;
    sleep(9 * SECOND).await;
    let bench = bench.crash_and_restart().await;
    let grace = bench.settings.lifecycle.restart_grace;
    let waited = ended(&bench, grace + 2 * SECOND).await;
    assert!(waited >= grace, "{waited:?}");
}

#[actix_web::test]
async fn a_stop_that_could_not_write_everything_is_no_clean_one() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("due", 10)).await;
    sleep(9 * SECOND).await;
    bench.store.fail_until_healed(Point::Commit, StoreError::Unavailable("on purpose".to_owned()));
    bench.supervisor.touch(&id("due"), ActivitySource::Ping).await.expect("in memory");
    assert!(bench.supervisor.shutdown(SECOND).await > 0);
    bench.store.heal_all();
    let store = bench.store.reopen();
    let bench = bench.start_on(store).await;
    let grace = bench.settings.lifecycle.restart_grace;
    let waited = ended(&bench, grace + 2 * SECOND).await;
    assert!(waited >= grace, "{waited:?}");
}

#[actix_web::test]
async fn a_crash_right_after_a_clean_hand_over_is_a_crash() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("due", 10)).await;
    let bench = bench.stop_and_restart().await;
    sleep(9 * SECOND).await;
    let bench = bench.crash_and_restart().await;
    let grace = bench.settings.lifecycle.restart_grace;
    assert!(ended(&bench, grace + 2 * SECOND).await >= grace);
}

#[actix_web::test]
async fn a_standby_answers_nothing_but_that_it_is_one_and_takes_over_when_the_holder_stops() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("mine", 600)).await;
    let standby = supervisor(&bench.settings, &bench.store.reopen(), &bench.runtime, &wall_clock());
    let told = Arc::new(Mutex::new(Vec::new()));
    let (waiting, heard) = (standby.clone(), told.clone());
    let begun = tokio::spawn(async move {
        waiting.begin_when_free(|holder| heard.lock().expect("told").push(holder.to_owned())).await
    });
    sleep(30 * SECOND).await;
    assert_eq!(
        (standby.health().phase(), standby.health().holder()),
        (ServingPhase::Standby, Some("the first supervisor".to_owned()))
    );
    assert_eq!(*told.lock().expect("told"), ["the first supervisor"], "told once");
    let refused = standby.touch(&id("mine"), ActivitySource::Ping).await;
    assert!(matches!(refused, Err(RequestError::Standby)), "{refused:?}");
    let refused = standby.create(idle("new", 60), true).await;
    assert!(matches!(refused, Err(RequestError::Standby)), "{refused:?}");
    bench.supervisor.touch(&id("mine"), ActivitySource::Ping).await.expect("the holder is not disturbed");

    bench.supervisor.shutdown(SECOND).await;
    let stopped = Instant::now();
    bench.until(SECOND / 2, || standby.health().phase() == ServingPhase::Ready).await;
    standby.touch(&id("mine"), ActivitySource::Ping).await.expect("taken over");
    assert!(stopped.elapsed() < SECOND / 2, "{:?}", stopped.elapsed());
    assert_eq!((standby.health().holder(), begun.await.expect("it ends").expect("the lease").sandboxes), (None, 1));
}

#[actix_web::test]
async fn a_standby_survives_a_store_that_is_down_and_takes_over_from_a_holder_that_died() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("mine", 600)).await;
    let standby = supervisor(&bench.settings, &bench.store.reopen(), &bench.runtime, &wall_clock());
    let waiting = standby.clone();
    let begun = tokio::spawn(async move { waiting.begin_when_free(|_| ()).await });
    sleep(SECOND).await;
    bench.store.go_down();
    sleep(30 * SECOND).await;
    assert_eq!(standby.health().phase(), ServingPhase::Standby);
    bench.store.heal_all();
    sleep(10 * SECOND).await;
    assert_eq!(standby.health().phase(), ServingPhase::Standby);
    bench.store.bury_holder();
    bench.until(SECOND / 2, || standby.health().phase() == ServingPhase::Ready).await;
    assert_eq!(begun.await.expect("it ends").expect("the lease").sandboxes, 1);
    standby.touch(&id("mine"), ActivitySource::Ping).await.expect("taken over");
}

#[actix_web::test]
async fn a_stop_is_not_clean_when_activity_was_acknowledged_after_the_last_write() {
    let bench = Bench::new(&[]).await;
    bench.create(idle("due", 10)).await;
    sleep(9 * SECOND).await;
    bench.supervisor.touch(&id("due"), ActivitySource::Ping).await.expect("stored");
    assert_eq!(bench.supervisor.shared().journal.close(SECOND).await, 0);
    bench.supervisor.touch(&id("due"), ActivitySource::Ping).await.expect("the next start's slack covers it");
    let bench = bench.stop_and_restart().await;
    let grace = bench.settings.lifecycle.restart_grace;
    assert!(ended(&bench, grace + 2 * SECOND).await >= grace);
}

#[actix_web::test]
async fn a_process_that_is_killed_every_few_seconds_grants_the_grace_only_once() {
    let mut bench = Bench::new(&[]).await;
    let grace = bench.settings.lifecycle.restart_grace;
    bench.create(idle("overdue", 10)).await;
    sleep(9 * SECOND).await;
    let (began, mut pinged) = (Instant::now(), 0);
    while !bench.runtime.is_empty() {
        assert!(began.elapsed() < 2 * grace, "kept alive by being killed");
        bench = bench.crash_and_restart().await;
        sleep(5 * SECOND).await;
        pinged += 5;
    }
    assert!(pinged >= grace.as_secs() - 15, "somebody who pings once in {pinged} s would not have been heard");
    // After a run that outlives the grace, the grace begins anew.
    bench.create(idle("later", 100)).await;
    sleep(99 * SECOND).await;
    let bench = bench.crash_and_restart().await;
    let waited = ended(&bench, grace + 2 * SECOND).await;
    assert!(waited >= grace, "{waited:?}");
}

#[actix_web::test]
async fn time_in_which_nobody_could_ping_uses_up_no_grace() {
    let bench = Bench::new(&[]).await;
    let grace = bench.settings.lifecycle.restart_grace;
    bench.create(idle("overdue", 10)).await;
    sleep(9 * SECOND).await;
    let bench = bench.crash_and_restart().await;
    sleep(5 * SECOND).await;
    bench.store.bury_holder();
    bench.supervisor.abandon();
    // The supervisor does not come back for an hour.
    sleep(3600 * SECOND).await;
    let store = bench.store.reopen();
    let bench = bench.start_on(store).await;
    let waited = ended(&bench, grace).await;
    assert!(waited >= grace - 7 * SECOND, "{waited:?}");
}
