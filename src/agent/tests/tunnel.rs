//! Tunnels to ports of the container.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use crate::client::{BOUND, agent};

async fn open(authority: &str) -> hyper::Response<hyper::body::Incoming> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let agent = agent();
    tokio::spawn(async move { _ = sandglass_agent::serve(far, &agent).await });
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(Method::CONNECT).uri(authority).body(Empty::<Bytes>::new()).unwrap();
    timeout(BOUND, sender.send_request(request)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_tunnel_leads_to_a_port_and_both_sides_hang_up_through_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let response = open(&format!("localhost:{port}")).await;
    assert_eq!(response.status(), 200);
    let (mut tcp, _) = listener.accept().await.unwrap();
    let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    tunnel.write_all(b"ping").await.unwrap();
    let mut read = [0; 4];
    tcp.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"ping");
    tcp.write_all(b"pong").await.unwrap();
    tunnel.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"pong");
    drop(tunnel);
    assert_eq!(timeout(BOUND, tcp.read(&mut read)).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn the_newer_loopback_is_tried_too() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        // Without that loopback, there is nothing to try.
        return;
    };
    let port = listener.local_addr().unwrap().port();
    assert_eq!(open(&format!("localhost:{port}")).await.status(), 200);
}

#[tokio::test]
async fn a_closed_port_and_another_host_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert_eq!(open(&format!("localhost:{port}")).await.status(), 502);
    assert_eq!(open("example.org:80").await.status(), 400);
}
