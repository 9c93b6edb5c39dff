//! What the embedded store promises beyond the contract.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use sandglass::{
    ports::store::{Found, Store, StoreError},
    store::EmbeddedStore,
};

use super::laws::{assert_held, put};
use crate::stores::{Embedded, Set, World, all};

/// The environment variable that makes [`a_supervisor_of_its_own`] act as the other process.
const PATH: &str = "STORE_CONTRACT_PATH";

/// Starts a supervisor in another process that writes until it is killed.
fn spawn_supervisor(world: &Embedded) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store_contract::embedded::a_supervisor_of_its_own", "--nocapture"])
        .env(PATH, world.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a law, but the other process of some laws. Without the variable it does nothing.
#[tokio::test]
async fn a_supervisor_of_its_own() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let world = Embedded::new();
    let mut settings = world.settings("a process of its own");
    settings.path = path.clone().into();
    let store = EmbeddedStore::open(settings).unwrap();
    store.acquire().await.unwrap();
    for round in 0_u64.. {
        let record = round.to_string();
        store.commit(&[put("first", &*record), put("second", &*record)]).await.unwrap();
        // Written after the commit is acknowledged, so that the test that kills this process knows what must be stored.
        let mut acknowledged = path.clone();
        acknowledged.push(".acknowledged");
        fs::write(acknowledged, record).unwrap();
    }
}

fn acknowledged(world: &Embedded) -> Option<u64> {
    let mut path = world.path().into_os_string();
    path.push(".acknowledged");
    fs::read_to_string(path).ok()?.parse().ok()
}

fn wait_for_rounds(world: &Embedded, rounds: u64) {
    for _ in 0..6_000 {
        if acknowledged(world).is_some_and(|round| round >= rounds) {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("the other process has not written");
}

#[tokio::test]
async fn a_supervisor_that_is_killed_leaves_whole_commits_and_no_lease() {
    let world = Embedded::new();
    let mut child = spawn_supervisor(&world);
    wait_for_rounds(&world, 20);
    let second = world.supervisor("the second");
    let holder = assert_held(second.acquire().await);
    assert!(holder.contains("a process of its own") && holder.contains(&child.id().to_string()), "{holder}");
    child.kill().unwrap();
    child.wait().unwrap();
    second.acquire().await.unwrap();
    let found: Vec<Found> = all(&*second, Set::Active).await.into_iter().map(|entry| entry.found).collect();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], found[1], "a commit was applied by halves");
    let Found::Record(record) = &found[0] else { panic!("{found:?}") };
    let round: u64 = std::str::from_utf8(record).unwrap().parse().unwrap();
    // The kill may have cut the file of acknowledgements short.
    assert!(acknowledged(&world).is_none_or(|acknowledged| round >= acknowledged), "an acknowledged commit is gone");
}

#[tokio::test]
async fn a_supervisor_that_is_dropped_gives_the_file_back() {
    let world = Embedded::new();
    let first = world.supervisor("the first");
    first.acquire().await.unwrap();
    first.commit(&[put("a", "1")]).await.unwrap();
    drop(first);
    let second = world.supervisor("the second");
    second.acquire().await.unwrap();
    assert_eq!(all(&*second, Set::Active).await.len(), 1);
}

#[tokio::test]
async fn the_note_is_beside_the_file_while_it_is_held() {
    let world = Embedded::new();
    let note = world.path().with_file_name("store.redb.lease");
    let store = world.supervisor("the first");
    assert!(!world.path().exists(), "the file is made when the lease is taken");
    store.acquire().await.unwrap();
    let words: serde_json::Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    assert_eq!(words["instance"], "the first");
    assert_eq!(words["pid"], std::process::id());
    store.release().await.unwrap();
    assert!(!note.exists());
}

#[tokio::test]
async fn a_note_of_somebody_dead_is_not_believed() {
    let world = Embedded::new();
    let store = world.supervisor("the first");
    store.acquire().await.unwrap();
    let note = world.path().with_file_name("store.redb.lease");
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let mut words: serde_json::Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    (words["instance"], words["pid"]) = ("long dead".into(), child.id().into());
    fs::write(&note, words.to_string()).unwrap();
    let holder = assert_held(world.supervisor("the second").acquire().await);
    assert!(!holder.contains("long dead") && holder.contains("store.redb"), "{holder}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_and_its_directory_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = Embedded::new();
    world.supervisor("the first").acquire().await.unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&world.path()), mode(world.path().parent().unwrap())), (0o600, 0o700));
}

#[tokio::test]
async fn what_is_no_store_is_refused_with_its_name_and_left_alone() {
    let world = Embedded::new();
    fs::create_dir_all(world.path().parent().unwrap()).unwrap();
    fs::write(world.path(), "a letter to a friend").unwrap();
    let error = world.supervisor("the first").acquire().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert!(error.to_string().contains("store.redb") && error.to_string().contains("no store"), "{error}");
    assert_eq!(fs::read_to_string(world.path()).unwrap(), "a letter to a friend");
    let mut settings = world.settings("the first");
    settings.path = world.directory.path().to_owned();
    let error = EmbeddedStore::open(settings).err().unwrap();
    assert!(error.to_string().contains("store.path"), "{error}");
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused() {
    let world = Embedded::new();
    let store = world.supervisor("the first");
    store.acquire().await.unwrap();
    store.release().await.unwrap();
    let database = redb::Database::open(world.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = store.acquire().await.unwrap_err();
    assert!(error.to_string().contains("99"), "{error}");
}
