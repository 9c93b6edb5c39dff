//! The journal between the actors and a store that fails on purpose.

use std::{sync::Arc, time::Duration};

use sandglass::{
    clock::Clock,
    domain::{Details, Moment, OnTimeout, Rules, Sandbox, record::Record, sandbox::RuleClock},
    journal::{ActivityCell, Journal, StoreHealth, WriteOutcome},
    metrics::Metrics,
    ports::store::{Store, StoreError},
    store::{MemoryStore, memory::Point},
    tasks::Tasks,
};
use tokio::{runtime::Handle, time::sleep};

use crate::support::bench::{id, wall_clock};

const FLUSH: Duration = Duration::from_secs(1);

struct Desk {
    store: MemoryStore,
    journal: Journal,
    clock: Clock,
}

impl Desk {
    async fn new() -> Self {
        let clock = Clock::with_wall(wall_clock());
        let store = MemoryStore::new();
        store.acquire().await.expect("the lease is free");
        let (shared, metrics) = (Arc::new(store.clone()), Arc::new(Metrics::new()));
        let tasks = Tasks::new(Handle::current(), clock.clone(), metrics.clone());
        let journal = Journal::start(shared, FLUSH, clock.clone(), metrics, &tasks);
        Self { store, journal, clock }
    }

    fn sandbox(&self, name: &str) -> Sandbox {
        let minute = Duration::from_secs(60);
        let rules = Rules::new(minute, OnTimeout::Deactivate).with(RuleClock::Idle, minute);
        let details = Details::new(id(name), name, self.clock.now().wall(), rules);
        Sandbox::create(details, self.clock.now()).0
    }

    fn cell(&self) -> ActivityCell {
        ActivityCell::new(self.clock.now().moment, Moment::DISTANT_PAST)
    }

    fn stored(&self, name: &str) -> Record {
        Record::parse(&self.store.record(name).expect("a record")).expect("a sound record")
    }

    fn down(&self) {
        self.store.fail_until_healed(Point::Commit, StoreError::Unavailable("on purpose".into()));
    }
}

fn named(sandbox: &Sandbox, user: usize) -> Sandbox {
    let mut sandbox = sandbox.clone();
    Arc::make_mut(&mut sandbox.details).user_name = Some(user.to_string().into());
    sandbox
}

#[tokio::test(start_paused = true)]
async fn a_ticket_resolves_when_the_store_has_it_and_not_before() {
    let desk = Desk::new().await;
    desk.down();
    let mut ticket = desk.journal.put(desk.sandbox("one"), &desk.cell());
    sleep(Duration::from_secs(30)).await;
    assert!(futures_util::poll!(&mut ticket).is_pending());
    assert_eq!(desk.journal.outcome(&mut ticket).await, WriteOutcome::InMemory, "pings and deadlines go on in memory");
    assert!(matches!(&*desk.journal.health().borrow(), StoreHealth::Down { .. }));
    desk.store.heal_all();
    assert!(ticket.await);
    assert!(desk.store.record("one").is_some());
    assert_eq!(*desk.journal.health().borrow(), StoreHealth::Up);
}

#[tokio::test(start_paused = true)]
async fn an_older_state_never_overwrites_a_newer_one() {
    let desk = Desk::new().await;
    let (sandbox, cell) = (desk.sandbox("one"), desk.cell());
    // The first write is in flight when the others come, fails after it was applied, and is repeated.
    desk.store.delay(Point::Commit, Duration::from_millis(100));
    desk.store.fail_next_after_effect(Point::Commit, 1, StoreError::Unavailable("the answer was lost".into()));
    let mut tickets = vec![desk.journal.put(named(&sandbox, 0), &cell)];
    for user in 1..20 {
        sleep(Duration::from_millis(30)).await;
        tickets.push(desk.journal.put(named(&sandbox, user), &cell));
    }
    for ticket in tickets {
        assert!(ticket.await);
    }
    assert_eq!(desk.stored("one").user_name.as_deref(), Some("19"));
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_the_same_moment_shares_a_round_trip() {
    let desk = Desk::new().await;
    desk.store.delay(Point::Commit, Duration::from_millis(50));
    let tickets: Vec<_> = (0..500).map(|n| desk.journal.put(desk.sandbox(&format!("s{n}")), &desk.cell())).collect();
    for ticket in tickets {
        assert!(ticket.await);
    }
    assert!(desk.store.written().commits <= 2, "{} commits", desk.store.written().commits);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_memory_is_bounded_by_the_number_of_sandboxes() {
    let desk = Desk::new().await;
    desk.down();
    let sandboxes: Vec<_> = (0..10).map(|n| (desk.sandbox(&format!("s{n}")), desk.cell())).collect();
    for round in 0..1000 {
        for (sandbox, cell) in &sandboxes {
            drop(desk.journal.put(named(sandbox, round), cell));
            cell.store(desk.clock.now().moment);
            desk.journal.touch(sandbox, cell);
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(desk.journal.backlog().0 <= 10, "{:?}", desk.journal.backlog());
    desk.store.heal_all();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(desk.journal.backlog().0, 0);
    assert_eq!(desk.stored("s9").user_name.as_deref(), Some("999"));
}

#[tokio::test(start_paused = true)]
async fn activity_is_in_the_store_within_a_flush_interval() {
    let desk = Desk::new().await;
    let (sandbox, cell) = (desk.sandbox("one"), desk.cell());
    assert!(desk.journal.put(sandbox.clone(), &cell).await);
    let mut queued_in = None;
    for _ in 0..400 {
        sleep(Duration::from_millis(37)).await;
        let now = desk.clock.now();
        cell.store(now.moment);
        if queued_in != Some(desk.journal.generation()) {
            queued_in = Some(desk.journal.touch(&sandbox, &cell));
        }
        let lag = now.wall() - desk.stored("one").last_activity_at.expect("a time");
        assert!(lag <= FLUSH.as_secs_f64(), "{lag} s of activity would be lost by a crash");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_writes_everything_that_was_acknowledged() {
    let desk = Desk::new().await;
    let (sandbox, cell) = (desk.sandbox("one"), desk.cell());
    assert!(desk.journal.put(sandbox.clone(), &cell).await);
    sleep(Duration::from_millis(100)).await;
    let now = desk.clock.now();
    cell.store(now.moment);
    desk.journal.touch(&sandbox, &cell);
    assert_eq!(desk.journal.close(Duration::from_secs(5)).await, 0);
    assert_eq!(desk.stored("one").last_activity_at, Some(now.wall()));
    assert!(!desk.journal.put(sandbox, &cell).await, "a closed journal takes nothing and says so");
}

#[tokio::test(start_paused = true)]
async fn however_much_waits_a_commit_stays_small() {
    let desk = Desk::new().await;
    desk.down();
    let tickets: Vec<_> = (0..12_000).map(|n| desk.journal.put(desk.sandbox(&format!("s{n}")), &desk.cell())).collect();
    sleep(Duration::from_secs(1)).await;
    desk.store.heal_all();
    for ticket in tickets {
        assert!(ticket.await);
    }
    assert!(desk.store.written().largest_batch <= 5000, "{:?}", desk.store.written());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_its_data_is_noticed_by_the_next_commit() {
    let desk = Desk::new().await;
    assert!(desk.journal.put(desk.sandbox("one"), &desk.cell()).await);
    desk.store.wipe();
    let told = tokio::time::timeout(Duration::from_secs(1), desk.journal.reverted());
    let (told, stored) = tokio::join!(told, desk.journal.put(desk.sandbox("two"), &desk.cell()));
    assert!(told.is_ok() && stored);
}

#[tokio::test(start_paused = true)]
async fn closing_gives_up_on_a_store_that_is_down_and_says_what_is_missing() {
    let desk = Desk::new().await;
    desk.down();
    drop(desk.journal.put(desk.sandbox("one"), &desk.cell()));
    assert_eq!(desk.journal.close(Duration::from_secs(5)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn closing_counts_as_missing_what_a_store_that_hangs_was_given() {
    let desk = Desk::new().await;
    desk.store.hang(Point::Commit);
    drop(desk.journal.put(desk.sandbox("one"), &desk.cell()));
    sleep(Duration::from_millis(100)).await;
    assert_eq!(desk.journal.close(Duration::from_secs(5)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_lease_writes_nothing_more() {
    let desk = Desk::new().await;
    desk.store.usurp("somebody else");
    let ticket = desk.journal.put(desk.sandbox("one"), &desk.cell());
    desk.journal.lost().cancelled().await;
    assert!(matches!(&*desk.journal.health().borrow(), StoreHealth::Lost { .. }));
    assert!(desk.store.record("one").is_none());
    assert!(tokio::time::timeout(Duration::from_secs(60), ticket).await.is_ok_and(|stored| !stored));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_dies_with_a_batch_loses_nothing_of_it() {
    let desk = Desk::new().await;
    desk.store.panic_next(Point::Commit, 3);
    let (first, second) = (desk.sandbox("a"), desk.sandbox("b"));
    let (mut waits, write) = (desk.journal.put(first.clone(), &desk.cell()), desk.journal.put(second, &desk.cell()));
    assert_eq!(desk.journal.outcome(&mut waits).await, WriteOutcome::InMemory, "it is told as an outage");
    // A newer write replaces the one of the dead writer.
    let newer = desk.journal.put(named(&first, 7), &desk.cell());
    assert!(waits.await && write.await && newer.await);
    assert_eq!(desk.stored("a").user_name.as_deref(), Some("7"));
    assert!(desk.store.record("b").is_some());
    assert_eq!(*desk.journal.health().borrow(), StoreHealth::Up);
    // A journal that dies while it closes has not closed.
    desk.store.panic_next(Point::Commit, 1);
    let last = desk.journal.put(named(&first, 8), &desk.cell());
    assert_eq!(desk.journal.close(Duration::from_secs(5)).await, 0);
    assert!(last.await);
    assert_eq!(desk.stored("a").user_name.as_deref(), Some("8"));
}
