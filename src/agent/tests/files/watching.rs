//! `WatchDir`, and watchers that are asked.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use serde_json::{Value, json};

use super::Place;
use crate::client::{BOUND, Stream};

/// A stream of changes that has begun.
async fn watch(place: &Place, recursive: bool) -> Stream {
    watch_with(place, json!({ "path": place.path(""), "recursive": recursive })).await
}

async fn watch_with(place: &Place, message: Value) -> Stream {
    let mut stream = place.client.stream("/filesystem.Filesystem/WatchDir", message).await;
    assert_eq!(stream.next().await, Ok(json!({ "start": {} })));
    stream
}

/// The changes until a file `end` is made, as `TYPE name`.
async fn until_end(place: &Place, stream: &mut Stream) -> Vec<String> {
    fs::File::create(place.path("end")).unwrap();
    let mut changes = Vec::new();
    loop {
        let change = short(&stream.next().await.expect("a change")["filesystem"]);
        if change == "CREATE end" {
            fs::remove_file(place.path("end")).unwrap();
            assert_eq!(short(&stream.next().await.expect("a change")["filesystem"]), "REMOVE end");
            return changes;
        }
        changes.push(change);
    }
}

fn short(event: &Value) -> String {
    let kind = event["type"].as_str().unwrap().strip_prefix("EVENT_TYPE_").unwrap();
    format!("{kind} {}", event["name"].as_str().unwrap())
}

#[tokio::test]
async fn changes_have_e2bs_names() {
    let place = Place::new().await;
    let mut stream = watch(&place, false).await;
    fs::write(place.path("f"), "x").unwrap();
    fs::set_permissions(place.path("f"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(place.path("f"), place.path("g")).unwrap();
    fs::create_dir(place.path("d")).unwrap();
    fs::write(place.path("d/below"), "not told").unwrap();
    fs::remove_file(place.path("g")).unwrap();
    let told = ["CREATE f", "WRITE f", "CHMOD f", "RENAME f", "CREATE g", "CREATE d", "REMOVE g"];
    assert_eq!(until_end(&place, &mut stream).await, told);
}

#[tokio::test]
async fn an_upload_is_told_as_e2bs_agent_tells_it() {
    let place = Place::new().await;
    let mut stream = watch(&place, false).await;
    for text in ["new", "old"] {
        place.post(&[("path", &place.path("f"))], text).await;
    }
    let told = until_end(&place, &mut stream).await;
    assert_eq!(told[..3], ["CREATE f", "CHMOD f", "WRITE f"]);
    assert!(told[3..].iter().all(|change| change == "WRITE f"), "{told:?}");
}

#[tokio::test]
async fn what_is_made_in_new_directories_is_told_once_however_fast_it_comes() {
    let place = Place::new().await;
    fs::create_dir(place.path("old")).unwrap();
    let mut stream = watch(&place, true).await;
    let mut made = Vec::new();
    for number in 0..100 {
        fs::create_dir_all(place.path(&format!("old/{number}/a/b"))).unwrap();
        fs::File::create(place.path(&format!("old/{number}/a/b/f"))).unwrap();
        made.extend(["", "/a", "/a/b", "/a/b/f"].map(|below| format!("CREATE old/{number}{below}")));
    }
    let mut told = until_end(&place, &mut stream).await;
    told.sort_unstable();
    made.sort_unstable();
    assert_eq!(told, made);
    // They are watched from now on.
    fs::remove_file(place.path("old/99/a/b/f")).unwrap();
    assert_eq!(until_end(&place, &mut stream).await, ["REMOVE old/99/a/b/f"]);
}

#[tokio::test]
async fn a_directory_that_moves_is_told_under_its_new_name_as_long_as_it_is_inside() {
    let (place, outside) = (Place::new().await, Place::new().await);
    fs::create_dir_all(place.path("a/b")).unwrap();
    fs::create_dir(place.path("other")).unwrap();
    let mut stream = watch(&place, true).await;
    fs::rename(place.path("a"), place.path("other/c")).unwrap();
    fs::write(place.path("other/c/b/f"), "x").unwrap();
    let told = ["RENAME a", "CREATE other/c", "CREATE other/c/b/f", "WRITE other/c/b/f"];
    assert_eq!(until_end(&place, &mut stream).await, told);
    fs::rename(place.path("other/c"), outside.path("c")).unwrap();
    assert_eq!(until_end(&place, &mut stream).await, ["RENAME other/c"]);
    fs::write(outside.path("c/b/f"), "not told").unwrap();
    assert_eq!(until_end(&place, &mut stream).await, Vec::<String>::new());
    fs::rename(outside.path("c"), place.path("c")).unwrap();
    assert_eq!(until_end(&place, &mut stream).await, ["CREATE c"]);
    fs::remove_file(place.path("c/b/f")).unwrap();
    assert_eq!(until_end(&place, &mut stream).await, ["REMOVE c/b/f"]);
}

#[tokio::test]
async fn links_are_not_followed_but_the_path_itself_is() {
    let (place, outside) = (Place::new().await, Place::new().await);
    symlink(outside.directory.path(), place.path("l")).unwrap();
    let mut stream = watch(&place, true).await;
    fs::write(outside.path("f"), "not told").unwrap();
    assert_eq!(until_end(&place, &mut stream).await, Vec::<String>::new());
    let mut through = watch_with(&place, json!({ "path": place.path("l") })).await;
    fs::File::create(outside.path("g")).unwrap();
    assert_eq!(short(&through.next().await.unwrap()["filesystem"]), "CREATE g");
}

#[tokio::test]
async fn entries_come_along_if_asked_for() {
    let place = Place::new().await;
    let mut stream = watch_with(&place, json!({ "path": place.path(""), "includeEntry": true })).await;
    fs::create_dir(place.path("d")).unwrap();
    let created = stream.next().await.unwrap();
    assert_eq!(created["filesystem"]["entry"]["type"], "FILE_TYPE_DIRECTORY");
    assert_eq!(created["filesystem"]["entry"]["path"], json!(place.path("d")));
    fs::remove_dir(place.path("d")).unwrap();
    let removed = stream.next().await.unwrap();
    assert_eq!((short(&removed["filesystem"]).as_str(), removed["filesystem"].get("entry")), ("REMOVE d", None));
}

#[tokio::test]
async fn the_end_of_the_directory_ends_the_stream() {
    let place = Place::new().await;
    fs::create_dir(place.path("d")).unwrap();
    let mut stream = watch_with(&place, json!({ "path": place.path("d"), "recursive": true })).await;
    fs::remove_dir(place.path("d")).unwrap();
    assert_eq!(short(&stream.next().await.unwrap()["filesystem"]), "REMOVE .");
    assert_eq!(stream.next().await, Err(json!({})));
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive() {
    let place = Place::new().await;
    let headers = [("keepalive-ping-interval", "1")];
    let message = json!({ "path": place.path("") });
    let mut stream = place.client.stream_with("/filesystem.Filesystem/WatchDir", message, &headers).await;
    assert_eq!(stream.next().await, Ok(json!({ "start": {} })));
    assert_eq!(stream.next().await, Ok(json!({ "keepalive": {} })));
}

#[tokio::test]
async fn a_watcher_keeps_changes_until_it_is_asked() {
    let place = Place::new().await;
    let (status, created) = place.call("CreateWatcher", json!({ "path": place.path(""), "recursive": true })).await;
    assert_eq!(status, 200, "{created}");
    let id = json!({ "watcherId": created["watcherId"] });
    assert_eq!(place.call("GetWatcherEvents", id.clone()).await, (200, json!({})));
    fs::create_dir(place.path("d")).unwrap();
    fs::write(place.path("d/f"), "x").unwrap();
    let mut told = Vec::new();
    let all = async {
        while told.len() < 3 {
            let (status, answer) = place.call("GetWatcherEvents", id.clone()).await;
            assert_eq!(status, 200, "{answer}");
            told.extend(answer["events"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(short));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, all).await.expect("the changes in time");
    assert_eq!(told[..2], ["CREATE d", "CREATE d/f"]);
    assert!(told[2..].iter().all(|change| change == "WRITE d/f"), "{told:?}");
    assert_eq!(place.call("RemoveWatcher", id.clone()).await, (200, json!({})));
    for call in ["GetWatcherEvents", "RemoveWatcher"] {
        let (status, error) = place.call(call, id.clone()).await;
        assert_eq!((status, &error["code"]), (404, &json!("not_found")), "{call}");
    }
}

#[tokio::test]
async fn only_directories_that_the_user_may_read_are_watched() {
    let place = Place::new().await;
    fs::write(place.path("f"), "").unwrap();
    for (path, status, code) in [("nothing", 404, "not_found"), ("f", 400, "invalid_argument")] {
        let message = json!({ "path": place.path(path) });
        let (told, error) = place.call("CreateWatcher", message.clone()).await;
        assert_eq!((told, error["code"].as_str()), (status, Some(code)));
        let mut stream = place.client.stream("/filesystem.Filesystem/WatchDir", message).await;
        assert_eq!(stream.next().await.unwrap_err()["error"]["code"], code);
    }
    if nix::unistd::geteuid().is_root() {
        fs::create_dir(place.path("closed")).unwrap();
        fs::set_permissions(place.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        let message = |path: &str| json!({ "path": place.path(path), "recursive": true });
        let (status, error) = place.call_as("54321", "CreateWatcher", message("closed")).await;
        assert_eq!((status, &error["code"]), (403, &json!("permission_denied")));
        // Below, it is left out.
        let (status, _) = place.call_as("54321", "CreateWatcher", message("")).await;
        assert_eq!(status, 200);
    }
}
