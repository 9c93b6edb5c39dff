//! Websockets to ports.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sandglass::domain::ActivitySource;
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::{
    accept_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::{Inside, Port};
use crate::http::wire::SOON;

#[actix_web::test]
async fn a_websocket_reaches_a_port_and_its_end_does_too() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    let mut request = format!("ws://{}/socket", inside.wire.address).into_client_request().expect("a request");
    request.headers_mut().insert("E2b-Sandbox-Id", inside.id.as_str().parse().expect("a value"));
    request.headers_mut().insert("E2b-Sandbox-Port", port.number.into());
    let serving = tokio::spawn(async move {
        let (socket, _) = port.listener.accept().await.expect("a connection");
        let mut socket = accept_async(socket).await.expect("a websocket");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.expect("it is taken");
            }
        }
    });
    let (mut socket, answer) = tokio_tungstenite::connect_async(request).await.expect("a websocket");
    assert_eq!(answer.status(), 101);
    for message in [Message::text("hello"), Message::binary(vec![7_u8; 300_000])] {
        socket.send(message.clone()).await.expect("it is taken");
        let echo = timeout(SOON, socket.next()).await.expect("an echo").expect("a message").expect("a whole one");
        assert!(echo == message, "the echo differs");
    }
    assert_eq!(inside.uses(ActivitySource::Traffic).await, 1);
    drop(socket);
    timeout(Duration::from_secs(2), serving).await.expect("it is told at once").expect("no panic");
    inside.end().await;
}

#[actix_web::test]
async fn a_websocket_that_is_refused_is_answered() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    let mut request = format!("ws://{}/socket", inside.wire.address).into_client_request().expect("a request");
    request.headers_mut().insert("E2b-Sandbox-Id", inside.id.as_str().parse().expect("a value"));
    request.headers_mut().insert("E2b-Sandbox-Port", port.number.into());
    let connecting = tokio::spawn(tokio_tungstenite::connect_async(request));
    let (mut visitor, head) = port.request().await;
    assert!(head.to_ascii_lowercase().contains("upgrade: websocket\r\n"), "{head}");
    visitor.answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let refused = connecting.await.expect("no panic").expect_err("it was refused");
    assert!(refused.to_string().contains("403"), "{refused}");
    inside.end().await;
}

#[actix_web::test]
async fn a_sandbox_that_ends_drops_its_websockets() {
    let inside = Inside::start(&[], json!({})).await;
    let port = Port::open().await;
    let mut request = format!("ws://{}/socket", inside.wire.address).into_client_request().expect("a request");
    request.headers_mut().insert("E2b-Sandbox-Id", inside.id.as_str().parse().expect("a value"));
    request.headers_mut().insert("E2b-Sandbox-Port", port.number.into());
    let serving = tokio::spawn(async move {
        let (socket, _) = port.listener.accept().await.expect("a connection");
        let mut socket = accept_async(socket).await.expect("a websocket");
        while let Some(Ok(_)) = socket.next().await {}
    });
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("a websocket");
    inside.wire.supervisor.terminate(&inside.id, Duration::ZERO).await.expect("it ends");
    let last = timeout(Duration::from_secs(2), socket.next()).await.expect("it is told at once");
    assert!(!matches!(last, Some(Ok(_))), "{last:?}");
    timeout(Duration::from_secs(2), serving).await.expect("it is told at once").expect("no panic");
    inside.wire.stop().await;
}
