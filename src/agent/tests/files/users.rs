//! Work as a user who is not the agent's. It needs an agent that runs as root; any other one has to refuse it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
};

use serde_json::json;

use super::{Place, noise};

/// A user and a group that no file of this machine belongs to.
const USER: &str = "54321:54322";

/// Whether this test runs as root. If not, what it would ask for is refused.
async fn is_root(place: &Place) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        let (status, error) = place.call_as(USER, "Stat", json!({ "path": "/" })).await;
        assert_eq!((status, &error["code"]), (403, &json!("permission_denied")), "{error}");
    }
    root
}

fn owner(path: &str) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

#[tokio::test]
async fn what_a_user_makes_belongs_to_that_user() {
    let place = Place::new().await;
    if !is_root(&place).await {
        return;
    }
    let mine = (54321, 54322);
    let (status, answer) = place.call_as(USER, "MakeDir", json!({ "path": place.path("d/e") })).await;
    assert_eq!((status, &answer["entry"]["owner"]), (200, &json!("54321")), "{answer}");
    let query = |path| [("path", path), ("username", USER)];
    let (put, posted) = (place.path("d/e/f/put"), place.path("d/posted"));
    assert_eq!(place.put(&query(&put), noise(1_000_000)).await.status, 200);
    assert_eq!(place.post(&query(&posted), "x").await.status, 200);
    for path in ["d", "d/e", "d/e/f", "d/e/f/put", "d/posted"] {
        assert_eq!(owner(&place.path(path)), mine, "{path}");
    }
    assert_eq!(place.get(&query(&put), &[]).await.body.len(), 1_000_000);
}

#[tokio::test]
async fn what_a_user_may_not_read_or_write_is_refused() {
    let place = Place::new().await;
    if !is_root(&place).await {
        return;
    }
    let (secret, closed) = (place.path("secret"), place.path("closed"));
    fs::write(&secret, "s").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(&closed).unwrap();
    fs::write(format!("{closed}/f"), "s").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let query = |path| [("path", path), ("username", USER)];
    assert_eq!(place.get(&query(&secret), &[]).await.status, 403);
    assert_eq!(place.post(&query(&secret), "x").await.status, 403);
    let below = format!("{closed}/f");
    assert_eq!(place.get(&query(&below), &[]).await.status, 403);
    assert_eq!(place.put(&query(&below), "x").await.status, 403);
    for (call, message) in [
        ("Stat", json!({ "path": below })),
        ("ListDir", json!({ "path": closed })),
        ("MakeDir", json!({ "path": format!("{closed}/d") })),
        ("Remove", json!({ "path": closed })),
        ("Move", json!({ "source": below, "destination": place.path("mine") })),
    ] {
        let (status, error) = place.call_as(USER, call, message).await;
        assert_eq!((status, &error["code"]), (403, &json!("permission_denied")), "{call}: {error}");
    }
    assert_eq!(fs::read(&secret).unwrap(), b"s");
    // Giving files away is root's; and a file of root's that may be written keeps its owner.
    let mine = place.path("mine");
    let query = [("path", mine.as_str()), ("username", USER), ("owner", "0")];
    assert_eq!(place.put(&query, "x").await.status, 403);
    assert!(!fs::exists(&mine).unwrap());
}

#[tokio::test]
async fn groups_count_and_capabilities_do_not() {
    let place = Place::new().await;
    if !is_root(&place).await {
        return;
    }
    let path = place.path("groups");
    fs::write(&path, "g").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o040)).unwrap();
    chown(&path, Some(0), Some(54322)).unwrap();
    assert_eq!(place.get(&[("path", &path), ("username", USER)], &[]).await.body, "g");
    assert_eq!(place.get(&[("path", &path), ("username", "54321:54323")], &[]).await.status, 403);
    // What the thread says of itself is what the kernel checks.
    let answer = place.get(&[("path", "/proc/thread-self/status"), ("username", USER)], &[]).await;
    let status = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("Uid:").ends_with("\t54321"), "{status}");
    assert!(line("Gid:").ends_with("\t54322"), "{status}");
    assert_eq!(line("Groups:").trim_end(), "Groups:\t54322");
    for capabilities in ["CapPrm:", "CapEff:", "CapInh:"] {
        assert!(line(capabilities).ends_with("\t0000000000000000"), "{status}");
    }
}

#[tokio::test]
async fn the_agent_stays_who_it_is() {
    let place = Place::new().await;
    if !is_root(&place).await {
        return;
    }
    for _ in 0..20 {
        let (status, _) = place.call_as(USER, "Stat", json!({ "path": "/" })).await;
        assert_eq!(status, 200);
        assert_eq!(place.put(&[("path", &place.path("roots"))], "x").await.status, 200);
        assert_eq!(owner(&place.path("roots")).0, 0);
    }
    let threads = fs::read_dir("/proc/self/task").unwrap();
    for thread in threads {
        // A thread may end while it is looked at.
        let Ok(status) = fs::read_to_string(thread.unwrap().path().join("status")) else { continue };
        let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
        // The first three are what signals and other processes ask for.
        assert!(uid.starts_with("Uid:\t0\t0\t0\t"), "{uid}");
    }
}
