//! `/files`: single files in and out.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    pin::Pin,
    process::Command,
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::json;

use super::{Place, noise};
use crate::client::{BOUND, Client};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A form as E2B's clients send it: each file in a field `file`, with its path as its name.
fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = b"--limit\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nignored\r\n".to_vec();
    for (name, content) in files {
        let head = format!(
            "--limit\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--limit--\r\n");
    form
}

const FORM: [(&str, &str); 1] = [("content-type", "multipart/form-data; boundary=limit")];

#[tokio::test]
async fn what_is_written_is_read_byte_for_byte_in_every_way() {
    let place = Place::new().await;
    // Longer than what is under way at once, and not a multiple of anything.
    let content = noise(1_500_001);
    let path = place.path("deep/er/f");
    let answer = place.put(&[("path", &path)], content.clone()).await;
    assert_eq!(answer.json(), json!([{ "path": path, "name": "f", "type": "file" }]));
    assert_eq!(fs::read(&path).unwrap(), content);
    let answer = place.get(&[("path", &path)], &[]).await;
    assert_eq!((answer.status, answer.headers["content-length"].to_str().unwrap()), (200, "1500001"));
    assert!(answer.body == content);

    fs::remove_file(&path).unwrap();
    let answer = place.post(&[("path", &path)], content.clone()).await;
    assert_eq!(answer.json(), json!([{ "path": path, "name": "f", "type": "file" }]));
    assert!(fs::read(&path).unwrap() == content);

    let (one, two) = (place.path("one"), place.path("sub/two"));
    let body = form(&[(&one, &content), (&two, b""), (&place.path("three"), b"\r\n--limi\r\n")]);
    let answer = place.ask(Method::POST, "/files", &[], &FORM, body.clone()).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.json()[1], json!({ "path": two, "name": "two", "type": "file" }));
    assert!(fs::read(&one).unwrap() == content);
    assert_eq!(fs::read(&two).unwrap(), b"");
    assert_eq!(fs::read(place.path("three")).unwrap(), b"\r\n--limi\r\n");

    for (method, headers, body) in [
        (Method::PUT, vec![], gzip(&content)),
        (Method::POST, vec![("content-type", "application/octet-stream")], gzip(&content)),
        (Method::POST, FORM.to_vec(), gzip(&form(&[("x", &content)]))),
    ] {
        fs::remove_file(&path).unwrap();
        let headers: Vec<_> = headers.into_iter().chain([("content-encoding", "gzip")]).collect();
        let answer = place.ask(method, "/files", &[("path", &path)], &headers, body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        assert!(fs::read(&path).unwrap() == content);
    }
}

#[tokio::test]
async fn a_client_that_names_gzip_gets_it() {
    let place = Place::new().await;
    let path = place.path("f");
    let content = noise(600_000);
    fs::write(&path, &content).unwrap();
    let answer = place.get(&[("path", &path)], &[("accept-encoding", "deflate, gzip")]).await;
    assert_eq!((answer.status, answer.headers["content-encoding"].to_str().unwrap()), (200, "gzip"));
    assert!(answer.headers.get("content-length").is_none());
    let mut plain = Vec::new();
    GzDecoder::new(&answer.body[..]).read_to_end(&mut plain).unwrap();
    assert!(plain == content);
}

#[tokio::test]
async fn a_range_is_a_part_of_the_file() {
    let place = Place::new().await;
    let path = place.path("f");
    fs::write(&path, "0123456789").unwrap();
    for (range, content, told) in
        [("bytes=2-4", "234", "bytes 2-4/10"), ("bytes=7-", "789", "bytes 7-9/10"), ("bytes=-2", "89", "bytes 8-9/10")]
    {
        let headers = [("range", range), ("accept-encoding", "gzip")];
        let answer = place.get(&[("path", &path)], &headers).await;
        assert_eq!((answer.status, &answer.body[..]), (206, content.as_bytes()));
        assert_eq!(answer.headers["content-range"], told);
    }
    let answer = place.get(&[("path", &path)], &[("range", "bytes=10-")]).await;
    assert_eq!((answer.status, answer.headers["content-range"].to_str().unwrap()), (416, "bytes */10"));
}

#[tokio::test]
async fn a_file_that_cannot_tell_its_size_is_sent_all_the_same() {
    let place = Place::new().await;
    let answer = place.get(&[("path", "/proc/self/status")], &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with(b"Name:"));
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let path = if fs::exists(path).unwrap() { path } else { "/sys/class/net/lo/address" };
    assert_eq!(place.get(&[("path", path)], &[]).await.body, fs::read(path).unwrap());
    fs::write(place.path("empty"), "").unwrap();
    let answer = place.get(&[("path", &place.path("empty"))], &[]).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[tokio::test]
async fn head_tells_the_size_without_the_file() {
    let place = Place::new().await;
    fs::write(place.path("f"), "12345").unwrap();
    let answer = place.ask(Method::HEAD, "/files", &[("path", &place.path("f"))], &[], Bytes::new()).await;
    assert_eq!((answer.status, answer.headers["content-length"].to_str().unwrap()), (200, "5"));
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn only_files_are_transferred() {
    let place = Place::new().await;
    fs::create_dir(place.path("d")).unwrap();
    nix::unistd::mkfifo(&std::path::PathBuf::from(place.path("pipe")), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [place.path("d"), place.path("pipe"), String::from("/dev/null"), String::from("/dev/zero")] {
        let query = [("path", path.as_str())];
        assert_eq!(place.get(&query, &[]).await.status, 400, "{path}");
        assert_eq!(place.put(&query, "x").await.status, 400, "{path}");
        let answer = place.post(&query, "x").await;
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(answer.json()["code"], 400);
        assert!(answer.message().contains(&path), "{:?}", answer.body);
    }
    let answer = place.get(&[("path", &place.path("nothing"))], &[]).await;
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!(404)));
    fs::write(place.path("f"), "").unwrap();
    assert_eq!(place.put(&[("path", &place.path("f/x"))], "x").await.status, 400);
}

#[tokio::test]
async fn put_keeps_what_it_is_given_and_what_the_old_file_had() {
    let place = Place::new().await;
    let path = place.path("f");
    let query = [("path", path.as_str()), ("mode", "4750"), ("mtime", "1000000000.25")];
    assert_eq!(place.put(&query, "one").await.status, 200);
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.mode() & 0o7777, found.mtime(), found.mtime_nsec()), (0o4750, 1_000_000_000, 250_000_000));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(place.put(&[("path", &path)], "two").await.status, 200);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(place.put(&[("path", &place.path("new"))], "").await.status, 200);
    assert_eq!(fs::metadata(place.path("new")).unwrap().mode() & 0o7777, 0o644);
    let answer = place.put(&[("path", &path), ("mode", "999")], "three").await;
    assert_eq!(answer.status, 400);
    assert!(answer.message().starts_with("mode: "), "{}", answer.message());
    assert_eq!(fs::read(&path).unwrap(), b"two");
}

#[tokio::test]
async fn post_writes_in_place_and_put_replaces() {
    let place = Place::new().await;
    let (path, other) = (place.path("f"), place.path("other-name"));
    fs::write(&path, "old").unwrap();
    fs::hard_link(&path, &other).unwrap();
    symlink("f", place.path("link")).unwrap();
    place.post(&[("path", &place.path("link"))], "posted").await;
    assert_eq!(fs::read(&other).unwrap(), b"posted");
    place.put(&[("path", &place.path("link"))], "put").await;
    assert_eq!((fs::read(&path).unwrap(), fs::read(&other).unwrap()), (b"put".to_vec(), b"posted".to_vec()));
    assert!(fs::symlink_metadata(place.path("link")).unwrap().is_symlink());
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing_and_leaves_nothing() {
    let place = Place::new().await;
    let path = place.path("f");
    fs::write(&path, "old").unwrap();
    let whole = gzip(&noise(100_000));
    let headers = [("content-encoding", "gzip")];
    let answer = place.ask(Method::PUT, "/files", &[("path", &path)], &headers, whole[..50_000].to_vec()).await;
    assert_eq!(answer.status, 400, "{:?}", answer.body);
    let answer = place.ask(Method::PUT, "/files", &[("path", &path)], &headers, "no gzip").await;
    assert_eq!(answer.status, 400, "{:?}", answer.body);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 1);
    let body = form(&[(&path, b"new")]);
    let answer = place.ask(Method::POST, "/files", &[], &FORM, body[..body.len() - 20].to_vec()).await;
    assert_eq!(answer.status, 400, "{:?}", answer.body);
}

#[tokio::test]
async fn a_form_writes_a_path_once() {
    let place = Place::new().await;
    let body = form(&[(&place.path("f"), b"1"), (&place.path("./f"), b"2")]);
    let answer = place.ask(Method::POST, "/files", &[], &FORM, body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.message().contains("twice"), "{}", answer.message());
    assert_eq!(fs::read(place.path("f")).unwrap(), b"1");
}

/// A file system of one megabyte, which only root can make. It goes with the test.
struct Small(String);

impl Small {
    fn mount(path: String) -> Self {
        fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs", &path]).status().unwrap();
        assert!(mounted.success(), "this test runs as root and therefore mounts a tmpfs, which has failed");
        Self(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_leaves_the_old_file() {
    if !nix::unistd::geteuid().is_root() {
        // `failure` has a test of the status that needs no disk.
        return;
    }
    let place = Place::new().await;
    let disk = Small::mount(place.path("disk"));
    let path = format!("{}/f", disk.0);
    fs::write(&path, "old").unwrap();
    let query = [("path", path.as_str())];
    let answer = place.put(&query, noise(3_000_000)).await;
    assert_eq!((answer.status, &answer.json()["code"]), (507, &json!(507)));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 1);
    assert_eq!(place.post(&query, noise(3_000_000)).await.status, 507);
}

#[tokio::test]
async fn metadata_of_clients_stays_with_the_file() {
    let place = Place::new().await;
    let path = place.path("f");
    let headers = [("content-type", "application/octet-stream"), ("X-Metadata-Purpose", "a test")];
    let answer = place.ask(Method::POST, "/files", &[("path", &path)], &headers, "x").await;
    assert_eq!(
        answer.json(),
        json!([{ "path": path, "name": "f", "type": "file", "metadata": { "purpose": "a test" } }])
    );
    let (_, stat) = place.call("Stat", json!({ "path": path })).await;
    assert_eq!(stat["entry"]["metadata"], json!({ "purpose": "a test" }));
    // It belongs to that upload, not to the next one.
    let answer = place.ask(Method::POST, "/files", &[("path", &path)], &headers[..1], "y").await;
    assert_eq!(answer.json(), json!([{ "path": path, "name": "f", "type": "file" }]));
    let (_, stat) = place.call("Stat", json!({ "path": path })).await;
    assert!(stat["entry"].get("metadata").is_none(), "{stat}");
}

#[tokio::test]
async fn requests_that_cannot_be_understood_are_refused() {
    let place = Place::new().await;
    let path = place.path("f");
    let query = [("path", path.as_str())];
    assert_eq!(place.ask(Method::DELETE, "/files", &query, &[], "").await.status, 405);
    assert_eq!(place.ask(Method::GET, "/files/other", &query, &[], "").await.status, 404);
    assert!(place.get(&[], &[]).await.message().starts_with("path: "));
    assert_eq!(place.ask(Method::POST, "/files", &query, &[("content-type", "text/plain")], "x").await.status, 400);
    assert_eq!(place.ask(Method::PUT, "/files", &query, &[("content-encoding", "br")], "x").await.status, 400);
    let unknown = [("path", path.as_str()), ("username", "nobody-of-this-name")];
    assert_eq!(place.get(&unknown, &[]).await.status, 401);
}

#[tokio::test]
async fn a_client_that_hangs_up_changes_nothing_and_leaves_nothing() {
    use tokio::io::AsyncWriteExt;
    let place = Place::new().await;
    let path = place.path("f");
    fs::write(&path, "old").unwrap();
    let temporary = || fs::read_dir(place.directory.path()).unwrap().count() > 1;
    for length in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let agent = crate::client::agent();
        tokio::spawn(async move { _ = sandglass_agent::serve(far, &agent).await });
        let head = format!("PUT /files?path={path} HTTP/1.1\r\nHost: agent\r\n{length}\r\n\r\n5\r\nhello\r\n");
        near.write_all(head.as_bytes()).await.unwrap();
        wait_until("the upload has begun", temporary).await;
        drop(near);
        wait_until("nothing is left", || !temporary()).await;
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}

/// A body that begins and goes no further. When it is dropped, HTTP/2 takes its stream back.
struct Stuck(Option<Bytes>);

impl hyper::body::Body for Stuck {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        self.0.take().map_or(Poll::Pending, |begun| Poll::Ready(Some(Ok(hyper::body::Frame::data(begun)))))
    }
}

#[tokio::test]
async fn a_stream_that_is_taken_back_changes_nothing_and_leaves_nothing() {
    let place = Place::new().await;
    let path = place.path("f");
    fs::write(&path, "old").unwrap();
    let temporary = || fs::read_dir(place.directory.path()).unwrap().count() > 1;
    let (near, far) = tokio::io::duplex(1 << 16);
    let agent = crate::client::agent();
    tokio::spawn(async move { _ = sandglass_agent::serve(far, &agent).await });
    let io = hyper_util::rt::TokioIo::new(near);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request =
        Request::put(format!("http://agent/files?path={path}")).body(Stuck(Some(Bytes::from("new")))).unwrap();
    let sent = tokio::spawn(sender.send_request(request));
    wait_until("the upload has begun", temporary).await;
    sent.abort();
    drop(sender);
    wait_until("nothing is left", || !temporary()).await;
    assert_eq!(fs::read(&path).unwrap(), b"old");
    connection.abort();
}

#[tokio::test]
async fn transfers_beyond_the_bound_are_refused_with_it() {
    // What a client does not read holds up its own connection, so that the others need another one.
    let agent = crate::client::agent();
    let slow = Client::of(&agent).await;
    let place = Place { client: Client::of(&agent).await, ..Place::new().await };
    let path = place.path("f");
    fs::File::create(&path).unwrap().set_len(10 << 20).unwrap();
    let mut open = Vec::new();
    for _ in 0..256 {
        let request = Request::get(format!("http://agent/files?path={path}")).body(Full::default()).unwrap();
        let response = slow.send(request).await;
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    let answer = place.get(&[("path", &path)], &[]).await;
    assert_eq!(answer.status, 429);
    assert!(answer.message().contains("256"), "{}", answer.message());
    // Calls that are short do not wait for those that are long.
    assert_eq!(place.call("Stat", json!({ "path": path })).await.0, 200);
    drop(open);
    let freed = async {
        while place.get(&[("path", &path), ("username", "")], &[("range", "bytes=0-0")]).await.status == 429 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, freed).await.expect("room again");
}

/// Waits for a condition, with a bound.
async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, met).await.unwrap_or_else(|_| panic!("{what} in time"));
}
