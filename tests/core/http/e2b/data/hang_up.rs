//! Who hangs up is noticed at once, on either side.

use std::time::Duration;

use reqwest::Body;
use serde_json::json;
use tokio::{io::AsyncWriteExt, time::Instant};

use super::{Inside, Port, Visitor, shell};
use crate::http::wire::Socket;

/// What a busy machine may take for an immediate effect.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A raw request for a port, whose connection can be broken by hand.
async fn ask(inside: &Inside, port: &Port, head: &str) -> (Socket, Visitor) {
    let mut socket = inside.wire.connect().await;
    let names = format!("E2b-Sandbox-Id: {}\r\nE2b-Sandbox-Port: {}\r\n", inside.id, port.number);
    socket.send(format!("{head}Host: 127.0.0.1\r\n{names}\r\n")).await;
    let (visitor, _) = port.request().await;
    (socket, visitor)
}

async fn is_told(socket: Socket, mut visitor: Visitor) {
    let began = Instant::now();
    drop(socket);
    visitor.gone().await;
    assert!(began.elapsed() < AT_ONCE, "told after {:?}", began.elapsed());
}

#[actix_web::test]
async fn a_client_that_hangs_up_before_the_answer_is_missed_inside() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    for head in ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nContent-Length: 0\r\n"] {
        let (socket, visitor) = ask(&inside, &port, head).await;
        is_told(socket, visitor).await;
    }
    inside.end().await;
}

#[actix_web::test]
async fn a_client_that_hangs_up_during_the_answer_is_missed_inside() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    for length in ["Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n", "Content-Length: 100\r\n\r\nbegin"] {
        let (mut socket, mut visitor) = ask(&inside, &port, "GET / HTTP/1.1\r\n").await;
        visitor.answer(&format!("HTTP/1.1 200 OK\r\n{length}")).await;
        socket.until("begin").await;
        is_told(socket, visitor).await;
    }
    inside.end().await;
}

#[actix_web::test]
async fn a_client_that_hangs_up_during_its_upload_is_missed_inside() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    let (mut socket, mut visitor) = ask(&inside, &port, "POST / HTTP/1.1\r\nContent-Length: 100\r\n").await;
    socket.send("begin").await;
    assert_eq!(visitor.read(5).await, "begin");
    is_told(socket, visitor).await;
    inside.end().await;
}

#[actix_web::test]
async fn a_client_that_hangs_up_on_a_command_leaves_it_running() {
    let inside = Inside::start(&[], json!({})).await;
    let mut frames = inside.stream("process.Process/Start", shell("sleep 1000")).await;
    frames.next().await.expect("a frame").expect("its start");
    drop(frames);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let listed = inside.call("process.Process/List", json!({})).await;
    assert_eq!(listed["processes"].as_array().map(Vec::len), Some(1), "{listed}");
    inside.end().await;
}

#[actix_web::test]
async fn a_sandbox_that_ends_drops_its_clients_at_once_and_without_an_end() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    let (mut streaming, mut visitor) = ask(&inside, &port, "GET / HTTP/1.1\r\n").await;
    visitor.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n").await;
    streaming.until("begin").await;
    let (mut endless, mut visitor) = ask(&inside, &port, "GET / HTTP/1.1\r\n").await;
    visitor.answer("HTTP/1.1 200 OK\r\n\r\nbegin").await;
    endless.until("begin").await;
    let (mut waiting, _visitor) = ask(&inside, &port, "GET / HTTP/1.1\r\nConnection: close\r\n").await;
    let mut command = inside.stream("process.Process/Start", shell("sleep 1000")).await;
    command.next().await.expect("a frame").expect("its start");
    let began = Instant::now();
    inside.wire.supervisor.terminate(&inside.id, Duration::ZERO).await.expect("it ends");
    assert!(!streaming.rest().await.contains("0\r\n\r\n"), "no last chunk");
    assert!(!endless.rest().await.contains("0\r\n\r\n"), "no last chunk");
    assert!(command.next().await.is_err(), "no last message");
    let told = waiting.rest().await;
    assert!(told.starts_with("HTTP/1.1 502 ") && told.contains("The sandbox was not found"), "{told}");
    assert!(began.elapsed() < AT_ONCE, "told after {:?}", began.elapsed());
    inside.wire.stop().await;
}

#[actix_web::test]
async fn a_stop_ends_what_has_no_end_of_its_own() {
    let inside = Inside::start(&[("http.stop_grace", "10")], json!({})).await;
    let mut command = inside.stream("process.Process/Start", shell("sleep 1000")).await;
    command.next().await.expect("a frame").expect("its start");
    inside.wire.supervisor.announce_stop();
    assert!(command.next().await.is_err(), "no last message");
    let began = Instant::now();
    inside.wire.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "stopped after {:?}", began.elapsed());
}

#[actix_web::test]
async fn an_upload_that_nobody_takes_is_held_back() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = sent.clone();
    let body = Body::wrap_stream(futures_util::stream::repeat_with(move || {
        counted.fetch_add(1 << 20, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, std::io::Error>(vec![0_u8; 1 << 20])
    }));
    let request = inside.at(port.number, reqwest::Method::POST, "/").body(body);
    let sending = tokio::spawn(request.send());
    let (mut visitor, _) = port.request().await;
    let mut last = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = sent.load(std::sync::atomic::Ordering::Relaxed);
        if now == last {
            break;
        }
        assert!(now < 64 << 20, "{now} bytes were taken that nobody reads");
        last = now;
    }
    sending.abort();
    visitor.0.shutdown().await.expect("it is open");
    visitor.gone().await;
    inside.end().await;
}
