//! `/files/archive`: directories in and out.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use super::{Answer, Place, noise};

impl Place {
    async fn pack(&self, query: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, "/files/archive", query, &[], Bytes::new()).await
    }

    async fn unpack(&self, query: &[(&str, &str)], archive: impl Into<Bytes>) -> Answer {
        self.ask(Method::PUT, "/files/archive", query, &[("content-type", "application/x-tar")], archive).await
    }
}

/// A name that no header has room for.
fn long(letter: &str) -> String {
    [letter.repeat(200), letter.repeat(200)].join("/")
}

/// Makes a tree with everything that an archive keeps.
fn plant(root: &str) {
    let at = |name: &str| format!("{root}/{name}");
    fs::create_dir_all(at(&long("x"))).unwrap();
    fs::create_dir_all(at("closed/empty")).unwrap();
    fs::write(at("big"), noise(700_001)).unwrap();
    fs::write(at(&format!("{}/f", long("x"))), "deep").unwrap();
    fs::write(at("closed/f"), "").unwrap();
    fs::hard_link(at("big"), at("closed/same")).unwrap();
    symlink("../big", at("closed/link")).unwrap();
    symlink(long("y"), at("long-link")).unwrap();
    fs::write(at("näme with\nall kinds"), "odd").unwrap();
    fs::set_permissions(at("big"), fs::Permissions::from_mode(0o6751)).unwrap();
    let time = fs::FileTimes::new().set_modified(UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789));
    for name in ["big", "closed"] {
        fs::File::open(at(name)).unwrap().set_times(time).unwrap();
    }
    // A directory that only root may write in, once it is filled.
    fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o555)).unwrap();
}

fn check(root: &str) {
    let at = |name: &str| format!("{root}/{name}");
    let look = |name: &str| fs::symlink_metadata(at(name)).unwrap();
    assert!(fs::read(at("big")).unwrap() == noise(700_001));
    assert_eq!(fs::read(at(&format!("{}/f", long("x")))).unwrap(), b"deep");
    assert_eq!(fs::read(at("näme with\nall kinds")).unwrap(), b"odd");
    assert!(look("closed/empty").is_dir());
    assert_eq!((look("closed/f").len(), look("closed/f").mode() & 0o7777), (0, 0o644));
    assert_eq!(look("closed/same").ino(), look("big").ino());
    assert_eq!(fs::read_link(at("closed/link")).unwrap(), Path::new("../big"));
    assert_eq!(fs::read_link(at("long-link")).unwrap(), Path::new(&long("y")));
    assert_eq!((look("big").mode() & 0o7777, look("closed").mode() & 0o7777), (0o6751, 0o555));
    for name in ["big", "closed"] {
        assert_eq!((look(name).mtime(), look(name).mtime_nsec()), (1_234_567_890, 123_456_789), "{name}");
    }
}

#[tokio::test]
async fn what_is_packed_is_unpacked_as_it_was() {
    let place = Place::new().await;
    let (from, to) = (place.path("from"), place.path("made/to"));
    fs::create_dir(&from).unwrap();
    plant(&from);
    let archive = place.pack(&[("path", &from)]).await;
    assert_eq!((archive.status, archive.headers["content-type"].to_str().unwrap()), (200, "application/x-tar"));
    let answer = place.unpack(&[("path", &to)], archive.body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    check(&format!("{to}/from"));
    // The content alone goes straight into a directory.
    let archive = place.pack(&[("path", &from), ("name", ".")]).await;
    let into = place.path("into");
    assert_eq!(place.unpack(&[("path", &into)], archive.body.clone()).await.status, 200);
    check(&into);
    // Over what is there already, where it may be written.
    fs::set_permissions(format!("{into}/closed"), fs::Permissions::from_mode(0o755)).unwrap();
    let answer = place.unpack(&[("path", &into)], archive.body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    check(&into);
}

#[tokio::test]
async fn gnu_tar_reads_our_archives_and_we_read_its_formats() {
    let place = Place::new().await;
    let from = place.path("from");
    fs::create_dir(&from).unwrap();
    plant(&from);
    let archive = place.pack(&[("path", &from), ("name", "renamed")]).await.body;
    fs::write(place.path("ours.tar"), archive).unwrap();
    fs::create_dir(place.path("by-tar")).unwrap();
    let read =
        Command::new("tar").args(["-xpf", &place.path("ours.tar"), "-C", &place.path("by-tar")]).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    check(&place.path("by-tar/renamed"));
    for format in ["gnu", "pax"] {
        let theirs = Command::new("tar").args(["-cf", "-", "--format", format, "-C", &from, "."]).output().unwrap();
        assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
        let to = place.path(format);
        let answer = place.unpack(&[("path", &to)], theirs.stdout).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        if format == "gnu" {
            // It has whole seconds only.
            let time = fs::FileTimes::new().set_modified(UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789));
            for name in ["big", "closed"] {
                assert_eq!(fs::metadata(format!("{to}/{name}")).unwrap().mtime(), 1_234_567_890);
                fs::File::open(format!("{to}/{name}")).unwrap().set_times(time).unwrap();
            }
        }
        check(&to);
    }
}

#[tokio::test]
async fn a_single_file_and_a_link_are_packed_as_such() {
    let place = Place::new().await;
    fs::write(place.path("f"), "content").unwrap();
    symlink("f", place.path("l")).unwrap();
    for name in ["f", "l"] {
        let archive = place.pack(&[("path", &place.path(name))]).await.body;
        assert_eq!(place.unpack(&[("path", &place.path("to"))], archive).await.json(), json!({ "entries": 1 }));
    }
    assert_eq!(fs::read_link(place.path("to/l")).unwrap(), Path::new("f"));
    assert_eq!(fs::read(place.path("to/l")).unwrap(), b"content");
}

#[tokio::test]
async fn attributes_travel_with_files_and_directories() {
    let place = Place::new().await;
    fs::create_dir(place.path("d")).unwrap();
    fs::write(place.path("d/f"), "x").unwrap();
    let value = b"any\nbytes\0\xff=".as_slice();
    for name in ["d", "d/f"] {
        let set = rustix::fs::setxattr(place.path(name), "user.test", value, rustix::fs::XattrFlags::empty());
        set.expect("a temporary directory whose file system keeps extended attributes");
    }
    let archive = place.pack(&[("path", &place.path("d"))]).await.body;
    assert_eq!(place.unpack(&[("path", &place.path("to"))], archive).await.status, 200);
    for name in ["to/d", "to/d/f"] {
        let mut buffer = [0; 64];
        let length = rustix::fs::getxattr(place.path(name), "user.test", &mut buffer[..]).unwrap();
        assert_eq!(&buffer[..length], value, "{name}");
    }
}

#[tokio::test]
async fn pipes_and_sockets_are_left_out() {
    let place = Place::new().await;
    fs::create_dir(place.path("d")).unwrap();
    nix::unistd::mkfifo(Path::new(&place.path("d/pipe")), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(place.path("d/socket")).unwrap();
    fs::write(place.path("d/f"), "x").unwrap();
    let archive = place.pack(&[("path", &place.path("d"))]).await.body;
    assert_eq!(place.unpack(&[("path", &place.path("to"))], archive).await.json(), json!({ "entries": 2 }));
}

#[tokio::test]
async fn owners_are_kept_or_become_the_users() {
    let place = Place::new().await;
    if !nix::unistd::geteuid().is_root() {
        // Nobody else can give files away; that a user's files are the user's own is tested with `users`.
        return;
    }
    fs::create_dir(place.path("d")).unwrap();
    symlink("f", place.path("d/l")).unwrap();
    fs::write(place.path("d/f"), "x").unwrap();
    for name in ["d", "d/f"] {
        chown(place.path(name), Some(4_000_000), Some(77)).unwrap();
    }
    std::os::unix::fs::lchown(place.path("d/l"), Some(4_000_000), Some(77)).unwrap();
    let archive = place.pack(&[("path", &place.path("d"))]).await.body;
    let user = ("username", "54321:54322");
    for (query, owner) in [
        (vec![], (4_000_000, 77)),
        (vec![("owners", "user")], (0, 0)),
        (vec![user], (54321, 54322)),
        (vec![user, ("owners", "user")], (54321, 54322)),
    ] {
        let to = place.path("to");
        let query: Vec<_> = query.into_iter().chain([("path", to.as_str())]).collect();
        let answer = place.unpack(&query, archive.clone()).await;
        assert_eq!(answer.status, 200, "{query:?}: {:?}", answer.body);
        for name in ["to/d", "to/d/f", "to/d/l"] {
            let found = fs::symlink_metadata(place.path(name)).unwrap();
            assert_eq!((found.uid(), found.gid()), owner, "{query:?} {name}");
        }
        fs::remove_dir_all(&to).unwrap();
    }
    let to = place.path("to");
    assert_eq!(place.unpack(&[("path", &to), ("owners", "keep"), user], archive.clone()).await.status, 403);
    assert!(place.unpack(&[("path", &to), ("owners", "x")], archive).await.message().starts_with("owners: "));
}

#[tokio::test]
async fn what_a_user_may_not_read_is_not_packed() {
    let place = Place::new().await;
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    fs::create_dir(place.path("d")).unwrap();
    fs::set_permissions(place.path("d"), fs::Permissions::from_mode(0o700)).unwrap();
    let answer = place.pack(&[("path", &place.path("d")), ("username", "54321")]).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    let place = Place::new().await;
    let to = place.path("to");
    for body in [Bytes::from(noise(2_000)), Bytes::from_static(b"short")] {
        assert_eq!(place.unpack(&[("path", &to)], body).await.status, 400);
    }
    assert_eq!(place.unpack(&[("path", &to)], "").await.json(), json!({ "entries": 0 }));
    fs::write(place.path("f"), "").unwrap();
    assert_eq!(place.unpack(&[("path", &place.path("f"))], "").await.status, 400);
    assert_eq!(place.pack(&[("path", &place.path("nothing"))]).await.status, 404);
    assert_eq!(place.pack(&[("path", "/dev/null")]).await.status, 400);
    assert!(place.pack(&[("path", &to), ("name", "a/b")]).await.message().starts_with("name: "));
    let sparse = Command::new("truncate").args(["-s", "1M", &place.path("f")]).status().unwrap();
    assert!(sparse.success());
    for format in ["gnu", "pax"] {
        let archive =
            Command::new("tar").args(["-cSf", "-", "--format", format, "-C", &place.path(""), "f"]).output().unwrap();
        let answer = place.unpack(&[("path", &to)], archive.stdout).await;
        assert_eq!(answer.status, 400);
        assert!(answer.message().contains("sparse"), "{}", answer.message());
    }
}
