//! The table of `design::restart::records`, over records that the reference system wrote.

use std::time::Duration;

use sandglass::{
    domain::{EndReason, Sandbox, Status, record::Record, sandbox::Container},
    ports::runtime::{ContainerRef, Labels, Owner, Runtime, RuntimeError},
    runtime::{
        Memory,
        memory::{Point, When},
    },
    store::MemoryStore,
};

use crate::support::{
    bench::{Bench, id, idle},
    fixtures::{Entry, Fixtures},
};

const SECOND: Duration = Duration::from_secs(1);
const NOW: f64 = 1_800_000_000.0;
const IDLE: f64 = 7200.0;
const LEGACY: f64 = 86400.0;

fn plant(store: &MemoryStore, fixtures: &Fixtures) {
    for entry in &fixtures.entries {
        match entry.record(&fixtures.field) {
            Some(record) => store.plant(entry.id.as_str(), entry.score, record),
            None => store.plant_member(entry.id.as_str(), entry.score),
        }
    }
}

/// A container with the labels of the reference system.
fn reference(name: &str) -> ContainerRef {
    ContainerRef::by_labels(id(name), Owner::Reference { task_id: name.to_owned() })
}

/// The container's name in the record.
fn container_name(entry: &Entry, fixtures: &Fixtures) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(entry.record(&fixtures.field)?).ok()?;
    Some(record.get("container_name")?.as_str()?.to_owned())
}

async fn taken_over() -> (Fixtures, Bench) {
    let fixtures = Fixtures::at(NOW);
    let bench = Bench::over(&[("store.prefix", "wegent-sandbox")], |store| plant(store, &fixtures)).await;
    for entry in &fixtures.entries {
        let state = if entry.variant == "bad-status" { Container::Paused } else { Container::Running };
        let name = container_name(entry, &fixtures).unwrap_or_else(|| format!("wegent-task-{}", entry.id));
        bench.runtime.put(&reference(&entry.id), &name, Labels::default(), state);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    (fixtures, bench)
}

/// When the idle rule ends it, in epoch seconds.
fn idle_deadline(bench: &Bench, sandbox: &Sandbox) -> f64 {
    bench.supervisor.now().wall_at(sandbox.idle_deadline().expect("an idle deadline"))
}

fn assert_deadline(bench: &Bench, sandbox: &Sandbox, promised: f64) {
    let (deadline, slack) = (idle_deadline(bench, sandbox), bench.settings.store.flush_interval.as_secs_f64());
    let late = deadline - promised;
    assert!((-1e-6..=slack + 1e-3).contains(&late), "{}: {late} s off its promise", sandbox.id());
}

async fn get(bench: &Bench, entry: &Entry) -> Sandbox {
    let found = bench.supervisor.get(&id(&entry.id)).await;
    found.unwrap_or_else(|error| panic!("{} ({}): {error}", entry.id, entry.variant))
}

fn stored(bench: &Bench, entry: &Entry) -> Record {
    Record::parse(&bench.store.record(&entry.id).expect("a record")).expect("a sound record")
}

#[actix_web::test]
async fn sound_records_come_back_with_the_time_that_remains() {
    let (fixtures, bench) = taken_over().await;
    for variant in ["minimal", "typical", "missing"] {
        for entry in fixtures.of(variant) {
            let sandbox = get(&bench, entry).await;
            assert_eq!(sandbox.status(), Status::Running);
            let activity = entry.time("last_activity_at").max(entry.score);
            assert_deadline(&bench, &sandbox, activity + IDLE);
            let expires = bench.supervisor.now().wall_at(sandbox.expires_at());
            assert!((expires - entry.time("expires_at")).abs() < 1e-5);
        }
    }
    for entry in fixtures.of("bad-status") {
        let paused = get(&bench, entry).await;
        assert_eq!((paused.status(), paused.idle_deadline()), (Status::Paused, None));
    }
}

#[actix_web::test]
async fn what_a_record_has_beside_our_fields_survives_a_rewrite() {
    let (fixtures, bench) = taken_over().await;
    for entry in fixtures.of("typical") {
        let before: serde_json::Value = serde_json::from_str(entry.record(&fixtures.field).unwrap()).unwrap();
        bench.supervisor.keep_alive(&id(&entry.id), Duration::from_secs(60)).await.expect("alive");
        let after: serde_json::Value = serde_json::from_slice(&bench.store.record(&entry.id).unwrap()).unwrap();
        for name in ["sandbox_id", "container_name", "created_at", "started_at", "user_id", "user_name", "metadata"] {
            assert_eq!(before[name], after[name], "{name}");
        }
        assert_eq!(after["taken_over"], true);
    }
}

#[actix_web::test]
async fn the_address_of_a_record_outlives_comparisons_with_the_engine() {
    let address = "http://docker.example:30080";
    let record = serde_json::json!({
        "sandbox_id": "77", "container_name": "wegent-task-77", "base_url": address, "status": "running",
        "created_at": NOW, "started_at": NOW, "last_activity_at": NOW, "expires_at": NOW + 1800.0,
    });
    let record = record.to_string();
    let bench =
        Bench::over(&[("store.prefix", "wegent-sandbox")], |store| store.plant("77", NOW, record.as_str())).await;
    bench.runtime.put(&reference("77"), "wegent-task-77", Labels::default(), Container::Running);
    tokio::time::sleep(Duration::from_secs(130)).await;
    let sandbox = bench.supervisor.get(&id("77")).await.expect("readable");
    assert_eq!((sandbox.status(), sandbox.details.base_url.as_deref()), (Status::Running, Some(address)));
}

#[actix_web::test]
async fn legacy_records_get_the_fallback_and_are_completed() {
    let (fixtures, bench) = taken_over().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for variant in ["legacy", "no-expires", "null-expires"] {
        for entry in fixtures.of(variant) {
            let sandbox = get(&bench, entry).await;
            assert_eq!(sandbox.status(), Status::Running);
            assert_deadline(&bench, &sandbox, entry.score + LEGACY);
            let record = stored(&bench, entry);
            assert!(!record.is_legacy() && record.expires_at.is_some() && record.last_activity_at.is_some());
        }
    }
}

#[actix_web::test]
async fn a_record_without_a_status_is_resolved_against_the_engine() {
    let (fixtures, bench) = taken_over().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for variant in ["nostatus", "pending"] {
        for entry in fixtures.of(variant) {
            let sandbox = get(&bench, entry).await;
            assert_eq!(sandbox.status(), Status::Running, "its container runs, so it is adopted");
            assert_eq!(stored(&bench, entry).status, Some(Status::Running));
        }
    }
}

#[actix_web::test]
async fn times_in_the_future_are_read_as_now_and_times_long_past_wait_for_the_grace() {
    let (fixtures, bench) = taken_over().await;
    for entry in fixtures.of("future") {
        assert_deadline(&bench, &get(&bench, entry).await, NOW + IDLE);
    }
    for entry in fixtures.of("past") {
        assert_eq!(get(&bench, entry).await.status(), Status::Running);
    }
    tokio::time::sleep(Duration::from_secs(59)).await;
    for entry in fixtures.of("past") {
        assert_eq!(get(&bench, entry).await.status(), Status::Running);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for entry in fixtures.of("past") {
        let ended = get(&bench, entry).await;
        assert_eq!(ended.end().expect("an end").reason, EndReason::Idle);
    }
}

#[actix_web::test]
async fn what_was_on_its_way_out_is_driven_on() {
    let (fixtures, bench) = taken_over().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (variant, last) in [("terminating", Status::Terminated), ("failed", Status::Failed)] {
        for entry in fixtures.of(variant) {
            let sandbox = get(&bench, entry).await;
            assert!(sandbox.is_gone());
            assert_eq!(sandbox.status(), last);
            assert_eq!(bench.runtime.inspect(&reference(&entry.id)).await, Ok(None), "its container is gone");
        }
    }
}

#[actix_web::test]
async fn damaged_records_are_kept_byte_for_byte_and_their_containers_live_on_by_the_fallback() {
    let (fixtures, bench) = taken_over().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let quarantine = bench.store.quarantine();
    assert_eq!(bench.restoration.quarantined, 4);
    for variant in ["malformed", "truncated"] {
        for entry in fixtures.of(variant) {
            let kept = quarantine.iter().find(|kept| kept.member == entry.id.as_bytes()).expect("in quarantine");
            assert_eq!(kept.bytes, entry.record(&fixtures.field).expect("bytes").as_bytes());
            assert!(!kept.reason.is_empty());
            let adopted = get(&bench, entry).await;
            assert_eq!(adopted.status(), Status::Running);
            assert_deadline(&bench, &adopted, entry.score + LEGACY);
        }
    }
}

#[actix_web::test]
async fn members_without_a_record_and_without_a_container_leave_the_set() {
    let fixtures = Fixtures::at(NOW);
    let bench = Bench::over(&[], |store| plant(store, &fixtures)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.restoration.orphans, 4);
    let members = bench.store.active_members();
    for entry in fixtures.of("nohash").chain(fixtures.of("nofield")) {
        assert!(members.iter().all(|(member, _)| member != entry.id.as_bytes()), "{} is still there", entry.id);
        assert!(bench.supervisor.get(&id(&entry.id)).await.is_err());
    }
    // These have no containers either: pending ones have failed.
    for entry in fixtures.of("pending") {
        let failed = get(&bench, entry).await;
        assert_eq!((failed.status(), failed.is_gone()), (Status::Failed, true));
    }
}

#[actix_web::test]
async fn a_paused_legacy_record_is_not_immortal() {
    let bench = Bench::over(&[], |store| {
        store.plant("frozen", NOW, r#"{"status":"pending","metadata":{"paused":true},"created_at":1799999999}"#);
    })
    .await;
    assert_eq!(bench.supervisor.get(&id("frozen")).await.expect("back").status(), Status::Paused);
    tokio::time::sleep(Duration::from_secs_f64(LEGACY + 10.0)).await;
    assert!(bench.supervisor.get(&id("frozen")).await.is_err() || bench.runtime.is_empty());
    assert!(bench.store.active_members().is_empty(), "it is still there");
}

#[actix_web::test]
async fn members_that_are_no_ids_are_put_aside_with_their_bytes() {
    let bench = Bench::over(&[], |store| {
        store.plant(b"not an id \xff".to_vec(), NOW, r#"{"status":"running"}"#);
        store.plant("wrong-type", NOW, r#"{"status":"running","expires_at":"tomorrow"}"#);
        store.plant("surrogate", NOW, r#"{"status":"running","metadata":{"text":"\ud800"},"idle_timeout":60,"v":1}"#);
        store.plant_foreign("other-type", NOW, "a list");
    })
    .await;
    assert_eq!(bench.restoration.quarantined, 3);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let quarantine = bench.store.quarantine();
    let reason = |member: &[u8]| &quarantine.iter().find(|kept| kept.member == member).expect("in quarantine").reason;
    assert!(reason(b"not an id \xff").contains("not a valid sandbox id"));
    assert!(reason(b"wrong-type").contains("expires_at"), "{}", reason(b"wrong-type"));
    assert!(reason(b"other-type").contains("a list"));
    // Text that cannot be read is kept as it was written.
    let kept = bench.supervisor.keep_alive(&id("surrogate"), Duration::from_secs(9)).await.expect("a sandbox");
    assert_eq!(kept.details.metadata["text"].get(), r#""\ud800""#);
    assert!(String::from_utf8(bench.store.record("surrogate").unwrap()).unwrap().contains(r#""text":"\ud800""#));
}

/// A supervisor dies between the start of a container and its readiness; `then` runs before the next one
/// starts.
async fn crashed_before_it_was_ready(then: impl FnOnce(&Memory)) -> Bench {
    let bench = Bench::new(&[("templates.base.ready", "{tcp = 80}"), ("lifecycle.restart_grace", "0")]).await;
    bench.runtime.hang(Point::Ready, When::Before);
    let supervisor = bench.supervisor.clone();
    let created = tokio::spawn(async move { supervisor.create(idle("slow", 600), true).await });
    let runtime = bench.runtime.clone();
    bench.until(SECOND, || runtime.state_of(&id("slow")) == Some(Container::Running)).await;
    created.abort();
    then(&runtime);
    bench.crash_and_restart().await
}

#[actix_web::test]
async fn what_a_crash_left_before_it_was_ready_is_adopted_when_it_is_ready() {
    let bench = crashed_before_it_was_ready(|_| ()).await;
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(status(&bench, "slow").await, Status::Pending, "it was taken for ready without being asked");
    bench.runtime.heal_all();
    tokio::time::sleep(SECOND).await;
    assert_eq!(status(&bench, "slow").await, Status::Running);
}

#[actix_web::test]
async fn what_a_crash_left_and_never_becomes_ready_did_not_start() {
    let never = RuntimeError::Failed("nobody listens".into());
    let bench = crashed_before_it_was_ready(|runtime| {
        runtime.heal_all();
        runtime.fail_always(Point::Ready, When::Before, never);
    })
    .await;
    tokio::time::sleep(10 * SECOND).await;
    let ended = bench.supervisor.get(&id("slow")).await.expect("readable");
    assert_eq!(ended.end().map(|end| end.reason), Some(EndReason::StartFailed));
    assert_eq!(ended.details.error_message.as_deref(), Some("nobody listens"));
    assert!(bench.runtime.is_empty(), "its container is left");
}

#[actix_web::test]
async fn an_engine_that_is_away_is_no_answer_to_whether_it_is_ready() {
    let away = RuntimeError::Unreachable("no socket".into());
    let bench = crashed_before_it_was_ready(|runtime| {
        runtime.heal_all();
        runtime.fail_always(Point::Ready, When::Before, away);
    })
    .await;
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(status(&bench, "slow").await, Status::Pending);
    bench.runtime.heal_all();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(status(&bench, "slow").await, Status::Running);
}

async fn status(bench: &Bench, name: &str) -> Status {
    bench.supervisor.get(&id(name)).await.expect("known").status()
}
