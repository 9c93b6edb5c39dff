//! The bounds of work in sandboxes, through the real binary: each is told with its number, and work that reaches one stops no
//! other.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use super::{directory, on_a_file};
use crate::support::{docker::Corner, program::Program};

/// Far longer than any of this takes.
const SOON: Duration = Duration::from_secs(20);

/// Sends the beginning of a request over a connection of its own, whose answer the kernel hardly buffers.
async fn begin(program: &Program, request: &str) -> TcpStream {
    let address = program.url().trim_start_matches("http://").parse().expect("an address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be small");
    let mut connection = socket.connect(address).await.expect("it listens");
    connection.write_all(request.as_bytes()).await.expect("it reads");
    connection
}

/// Reads until `end` has come.
async fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains(end) {
            let mut part = [0; 1024];
            let length = connection.read(&mut part).await.expect("it answers");
            assert!(length > 0, "it ended after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&part[..length]);
        }
    };
    timeout(SOON, reading).await.unwrap_or_else(|_| panic!("{end:?} has not come"));
    String::from_utf8_lossy(&read).into_owned()
}

/// Writes a file, and returns the status and the answer.
async fn put(program: &Program, id: &str, query: &str, content: Vec<u8>) -> (u16, Value) {
    let url = format!("{}/v1/sandboxes/{id}/files?{query}", program.url());
    let answer = reqwest::Client::new().put(url).body(content).send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}

async fn read(program: &Program, id: &str, path: &str) -> (u16, Vec<u8>) {
    let url = format!("{}/v1/sandboxes/{id}/files?path={path}", program.url());
    let answer = reqwest::get(url).await.expect("an answer");
    (answer.status().as_u16(), answer.bytes().await.expect("a whole answer").to_vec())
}

/// Runs a command that ends at once.
async fn works(program: &Program, id: &str) {
    let body = json!({"command": ["true"]});
    let path = format!("/v1/sandboxes/{id}/commands");
    let ran = timeout(SOON, program.post(&path, &body)).await.expect("a command is answered");
    assert_eq!((ran.status, &ran.body["exit_code"]), (200, &json!(0)), "{}", ran.body);
}

#[tokio::test]
async fn as_many_commands_run_as_can_and_the_next_is_told_how_many() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let path = format!("/v1/sandboxes/{id}/commands");
    let body = json!({"command": ["sleep", "1000"], "background": true});
    let mut last = String::new();
    for _ in 0..64 {
        let begun = program.post(&path, &body).await;
        assert_eq!(begun.status, 202, "{}", begun.body);
        last = begun.body["command_id"].as_str().expect("an id").to_owned();
    }
    let refused = program.post(&path, &body).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (429, &json!("limit_reached")), "{}", refused.body);
    assert!(refused.body["error"]["message"].to_string().contains("64 commands"), "{}", refused.body);
    // One that ends makes room.
    assert_eq!(program.post(&format!("{path}/{last}/signal"), &json!({"signal": "KILL"})).await.status, 204);
    let deadline = Instant::now() + SOON;
    while program.post(&path, &body).await.status == 429 {
        assert!(Instant::now() < deadline, "there is no room");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_sandbox_that_ends_frees_a_thousand_streams_at_once_and_more_than_can_be_are_refused_with_their_number() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let path = format!("/v1/sandboxes/{id}/commands");
    let begun = program.post(&path, &json!({"command": ["sleep", "1000"], "background": true})).await;
    let command = begun.body["command_id"].as_str().expect("an id");
    let request = format!(
        "GET {path}/{command} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n"
    );
    let open = async |_| {
        let mut connection = begin(&program, &request).await;
        let answer = read_until(&mut connection, "\r\n\r\n").await;
        (connection, answer)
    };
    let opened: Vec<_> = stream::iter(0..2100).map(open).buffer_unordered(20).collect().await;
    let (streams, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(|(_, answer)| answer.contains(" 200 OK"));
    assert!((1000..=2000).contains(&streams.len()), "{} streams are open: {:?}", streams.len(), refused.first());
    for (mut connection, mut answer) in refused {
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        if !answer.contains("2000") {
            answer = read_until(&mut connection, "2000").await;
        }
        assert!(answer.contains("limit_reached"), "{answer}");
    }
    let began = Instant::now();
    assert_eq!(program.delete(&format!("/v1/sandboxes/{id}")).await.status, 202);
    for (mut connection, _) in streams {
        let mut rest = Vec::new();
        timeout(SOON, connection.read_to_end(&mut rest)).await.expect("it ends").ok();
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(rest.contains("event: exited") && rest.contains("\"lost\""), "its end is told, not {rest:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "freed after {:?}", began.elapsed());
}

#[tokio::test]
async fn transfers_that_stand_still_stop_no_other_work() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let file = format!("/v1/sandboxes/{id}/files?path=/tmp");
    let (written, told) = put(&program, id, "path=/tmp/big", vec![7; 32 << 20]).await;
    assert_eq!(written, 204, "{told}");
    let mut waiting = Vec::new();
    for number in 0..40 {
        let mut down = begin(&program, &format!("GET {file}/big HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        let head = read_until(&mut down, "\r\n\r\n").await;
        assert!(head.contains(" 200 OK"), "{head}");
        let up = format!("PUT {file}/up-{number} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nbegin");
        waiting.push((down, begin(&program, &up).await));
    }
    works(&program, id).await;
    let (status, told) =
        timeout(SOON, put(&program, id, "path=/tmp/small", b"small".to_vec())).await.expect("it is written");
    assert_eq!(status, 204, "{told}");
    assert_eq!(timeout(SOON, read(&program, id, "/tmp/small")).await.expect("it is read"), (200, b"small".to_vec()));
    // They go on all the same.
    let (mut down, mut up) = waiting.pop().expect("one of them");
    up.write_all(&[b'.'; 95]).await.expect("it reads on");
    assert!(read_until(&mut up, "\r\n\r\n").await.contains(" 204 "));
    let mut rest = vec![0; 1 << 20];
    timeout(SOON, down.read_exact(&mut rest)).await.expect("it goes on").expect("it is whole");
}

#[tokio::test]
async fn files_are_larger_than_other_bodies_may_be_and_a_full_disk_is_told_and_leaves_what_was_there() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &["--set", "http.max_body_bytes=1024"]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let content = vec![1; 1 << 20];
    // Docker's /dev/shm has 64 MiB.
    assert_eq!(put(&program, id, "path=/dev/shm/file", content.clone()).await.0, 204);
    let (status, told) = put(&program, id, "path=/dev/shm/file", vec![2; 100 << 20]).await;
    assert_eq!((status, &told["error"]["code"]), (507, &json!("disk_full")), "{told}");
    assert!(told["error"]["message"].to_string().contains("/dev/shm/file"), "{told}");
    assert_eq!(read(&program, id, "/dev/shm/file").await, (200, content));
    let listed = program.get(&format!("/v1/sandboxes/{id}/files?path=/dev/shm&list")).await.body;
    assert_eq!(listed["entries"].as_array().map(Vec::len), Some(1), "nothing else is left there: {listed}");
}

#[tokio::test]
async fn a_tar_writes_nothing_outside_of_its_directory() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    for (number, name) in ["../outside", "/outside", "a/../../outside", "link/outside"].into_iter().enumerate() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "link", "/").expect("memory can be written to");
        let mut header = tar::Header::new_gnu();
        // The library refuses to write such names.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(1);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, &b"1"[..]).expect("memory can be written to");
        let tar = tar.into_inner().expect("memory can be written to");
        let (status, told) = put(&program, id, &format!("path=/tmp/in-{number}&tar"), tar).await;
        assert!(matches!(status, 204 | 400), "{name}: {status} {told}");
        for outside in ["/outside", "/tmp/outside"] {
            assert_eq!(read(&program, id, outside).await.0, 404, "{name} came to {outside}");
        }
    }
}
