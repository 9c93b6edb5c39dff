//! `filesystem.Filesystem`: looking, listing, making, moving, removing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use serde_json::{Value, json};

use super::Place;

fn names(list: &Value) -> Vec<&str> {
    let entries = list["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn stat_tells_everything_about_a_file() {
    let place = Place::new().await;
    let path = place.path("f");
    fs::write(&path, "12345").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let time = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_500));
    fs::File::options().write(true).open(&path).unwrap().set_times(time).unwrap();
    let (status, answer) = place.call("Stat", json!({ "path": path })).await;
    assert_eq!(status, 200, "{answer}");
    let entry = &answer["entry"];
    assert_eq!(entry["name"], "f");
    assert_eq!(entry["type"], "FILE_TYPE_FILE");
    assert_eq!(entry["path"], json!(path));
    assert_eq!(entry["size"], "5");
    assert_eq!(entry["mode"], 0o640);
    assert_eq!(entry["permissions"], "-rw-r-----");
    assert_eq!(entry["modifiedTime"], "1970-01-01T00:00:01.500Z");
    assert!(entry.get("symlinkTarget").is_none(), "{entry}");
    for owner in ["owner", "group"] {
        assert!(entry[owner].as_str().is_some_and(|name| !name.is_empty()), "{entry}");
    }
}

#[tokio::test]
async fn a_link_is_told_with_its_target_and_the_type_behind_it() {
    let place = Place::new().await;
    fs::create_dir(place.path("d")).unwrap();
    symlink("d", place.path("to-d")).unwrap();
    symlink("nowhere", place.path("to-nothing")).unwrap();
    let (_, to_d) = place.call("Stat", json!({ "path": place.path("to-d") })).await;
    assert_eq!(to_d["entry"]["type"], "FILE_TYPE_DIRECTORY");
    let d = json!(fs::canonicalize(place.path("d")).unwrap());
    assert_eq!((&to_d["entry"]["symlinkTarget"], &to_d["entry"]["isSymlink"]), (&d, &json!(true)));
    let (status, dangling) = place.call("Stat", json!({ "path": place.path("to-nothing") })).await;
    assert_eq!((status, &dangling["entry"]["type"]), (200, &json!("FILE_TYPE_SYMLINK")));
    assert_eq!(dangling["entry"]["symlinkTarget"], "nowhere");
}

#[tokio::test]
async fn a_path_without_a_file_is_not_found() {
    let place = Place::new().await;
    fs::write(place.path("f"), "").unwrap();
    for path in [place.path("nothing"), place.path("f/below-a-file")] {
        let (status, error) = place.call("Stat", json!({ "path": path })).await;
        assert_eq!((status, &error["code"]), (404, &json!("not_found")), "{path}: {error}");
        assert!(error["message"].as_str().unwrap().contains(&path), "{error}");
    }
}

#[tokio::test]
async fn a_list_goes_as_deep_as_asked_and_each_directory_stands_before_what_is_in_it() {
    let place = Place::new().await;
    fs::create_dir_all(place.path("a/b/c")).unwrap();
    fs::write(place.path("a/b/x"), "").unwrap();
    fs::write(place.path("z"), "").unwrap();
    symlink("a", place.path("l")).unwrap();
    let list = async |depth: u32| place.call("ListDir", json!({ "path": place.path(""), "depth": depth })).await.1;
    assert_eq!(names(&list(0).await), ["a", "l", "z"]);
    assert_eq!(names(&list(1).await), ["a", "l", "z"]);
    assert_eq!(names(&list(2).await), ["a", "b", "l", "z"]);
    assert_eq!(names(&list(9).await), ["a", "b", "c", "x", "l", "z"]);
    // The path that was asked for is followed, and told as it was asked for.
    let (_, through) = place.call("ListDir", json!({ "path": place.path("l") })).await;
    assert_eq!(through["entries"][0]["path"], json!(place.path("l/b")));
}

#[tokio::test]
async fn only_directories_are_listed() {
    let place = Place::new().await;
    fs::write(place.path("f"), "").unwrap();
    let (status, error) = place.call("ListDir", json!({ "path": place.path("f") })).await;
    assert_eq!((status, &error["code"]), (400, &json!("invalid_argument")));
    let (status, error) = place.call("ListDir", json!({ "path": place.path("nothing") })).await;
    assert_eq!((status, &error["code"]), (404, &json!("not_found")));
    fs::create_dir(place.path("e")).unwrap();
    let (status, empty) = place.call("ListDir", json!({ "path": place.path("e") })).await;
    assert_eq!((status, empty), (200, json!({})));
}

#[tokio::test]
async fn a_directory_is_made_with_those_above_it_and_only_once() {
    let place = Place::new().await;
    let (status, made) = place.call("MakeDir", json!({ "path": place.path("a/b") })).await;
    assert_eq!(
        (status, &made["entry"]["type"], &made["entry"]["name"]),
        (200, &json!("FILE_TYPE_DIRECTORY"), &json!("b"))
    );
    let (status, error) = place.call("MakeDir", json!({ "path": place.path("a/b") })).await;
    assert_eq!((status, &error["code"]), (409, &json!("already_exists")));
    fs::write(place.path("f"), "").unwrap();
    for path in ["f", "f/below"] {
        let (status, error) = place.call("MakeDir", json!({ "path": place.path(path) })).await;
        assert_eq!((status, &error["code"]), (400, &json!("invalid_argument")), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_move_makes_the_directories_above_and_replaces_a_file() {
    let place = Place::new().await;
    fs::write(place.path("from"), "new").unwrap();
    fs::create_dir(place.path("to")).unwrap();
    fs::write(place.path("to/file"), "old").unwrap();
    let (status, moved) =
        place.call("Move", json!({ "source": place.path("from"), "destination": place.path("to/file") })).await;
    assert_eq!((status, &moved["entry"]["path"]), (200, &json!(place.path("to/file"))));
    assert_eq!(fs::read(place.path("to/file")).unwrap(), b"new");
    let (status, _) = place.call("Move", json!({ "source": place.path("to"), "destination": place.path("x/y") })).await;
    assert_eq!((status, fs::read(place.path("x/y/file")).unwrap()), (200, b"new".to_vec()));
    let (status, error) =
        place.call("Move", json!({ "source": place.path("to"), "destination": place.path("z") })).await;
    assert_eq!((status, &error["code"]), (404, &json!("not_found")));
    assert!(!fs::exists(place.path("z")).unwrap());
}

#[tokio::test]
async fn a_removal_takes_what_is_below_and_not_what_links_lead_to() {
    let place = Place::new().await;
    fs::create_dir_all(place.path("keep/d")).unwrap();
    fs::create_dir_all(place.path("d/e")).unwrap();
    symlink(place.path("keep"), place.path("d/e/l")).unwrap();
    symlink(place.path("keep"), place.path("l")).unwrap();
    for path in ["d", "l"] {
        let (status, answer) = place.call("Remove", json!({ "path": place.path(path) })).await;
        assert_eq!((status, answer), (200, json!({})), "{path}");
        assert!(fs::symlink_metadata(place.path(path)).is_err(), "{path}");
    }
    assert!(fs::exists(place.path("keep/d")).unwrap());
}

#[tokio::test]
async fn removing_nothing_succeeds_unless_it_must_exist() {
    let place = Place::new().await;
    let (status, _) = place.call("Remove", json!({ "path": place.path("nothing") })).await;
    assert_eq!(status, 200);
    let (status, error) = place.call("Remove", json!({ "path": place.path("nothing"), "mustExist": true })).await;
    assert_eq!((status, &error["code"]), (404, &json!("not_found")));
    for root in ["/", "//", "/."] {
        let (status, error) = place.call("Remove", json!({ "path": root })).await;
        assert_eq!((status, &error["code"]), (400, &json!("invalid_argument")), "{root}");
    }
}

#[tokio::test]
async fn wrong_paths_are_refused_with_their_field() {
    let place = Place::new().await;
    let (status, error) = place.call("Stat", json!({ "path": "a\0b" })).await;
    assert_eq!((status, &error["code"]), (400, &json!("invalid_argument")));
    assert!(error["message"].as_str().unwrap().starts_with("path: "), "{error}");
    let (_, error) = place.call("Move", json!({ "source": "/a", "destination": "~root/b" })).await;
    assert!(error["message"].as_str().unwrap().starts_with("destination: "), "{error}");
    let long = format!("/{}", "x".repeat(300));
    let (status, error) = place.call("MakeDir", json!({ "path": long })).await;
    assert_eq!((status, &error["code"]), (400, &json!("invalid_argument")), "{error}");
    let (status, error) = place.call("Nothing", json!({})).await;
    assert_eq!((status, &error["code"]), (501, &json!("unimplemented")));
}
