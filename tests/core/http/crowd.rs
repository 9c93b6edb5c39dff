//! More connections than are allowed.

use sandglass::runtime::memory::{Point, When};

use super::wire::{Socket, Wire};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const PING: &str = "POST /v1/sandboxes/one/activity HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

async fn with_one(connections: usize) -> Wire {
    let wire = Wire::start(connections, &[("http.max_streams", "4")]).await;
    let create = "POST /v1/sandboxes HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 13\r\n\r\n\
                  {\"id\": \"one\"}";
    assert!(wire.exchange(create).await.starts_with("HTTP/1.1 201 "));
    wire
}

/// Connections that stay open without requests.
async fn idle(wire: &Wire, count: usize) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let mut socket = wire.connect().await;
        socket.send(HEALTH).await;
        socket.until("}").await;
        sockets.push(socket);
    }
    sockets
}

#[actix_web::test]
async fn idle_connections_make_room_for_a_ping_and_the_longest_idle_is_the_first() {
    let wire = with_one(8).await;
    let mut sockets = idle(&wire, 30).await;
    for _ in 0..10 {
        let answer = wire.exchange(PING).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(sockets[0].rest().await, "", "it was closed without a word");
    // The pings came one after the other over connections that are closed, so the last ones still work.
    let last = sockets.last_mut().expect("one");
    last.send(HEALTH).await;
    last.until("}").await;
    drop(sockets);
    wire.stop().await;
}

#[actix_web::test]
async fn idle_connections_make_room_for_a_ping_also_where_there_may_be_hardly_any() {
    let wire = with_one(2).await;
    let sockets = idle(&wire, 4).await;
    let answer = wire.exchange(PING).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    drop(sockets);
    wire.stop().await;
}

#[actix_web::test]
async fn connections_on_which_nothing_ever_comes_make_room_for_a_ping() {
    let wire = with_one(8).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        let mut socket = wire.connect().await;
        socket.send("POST /v1/sandboxes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{").await;
        silent.push(socket);
    }
    let answer = wire.exchange(PING).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    drop(silent);
    wire.stop().await;
}

#[actix_web::test]
async fn those_who_wait_for_an_end_make_room_for_a_ping_and_are_told_how_far_it_is() {
    let wire = with_one(8).await;
    wire.runtime.hang(Point::Remove, When::Before);
    let create = "POST /v1/sandboxes HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 13\r\n\r\n\
                  {\"id\": \"two\"}";
    assert!(wire.exchange(create).await.starts_with("HTTP/1.1 201 "));
    let mut waiting = Vec::new();
    for _ in 0..30 {
        let mut socket = wire.connect().await;
        socket.send("DELETE /v1/sandboxes/two?wait=300 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
        waiting.push(socket);
    }
    let answer = wire.exchange(PING).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let told = waiting[0].rest().await;
    assert!(told.starts_with("HTTP/1.1 202 ") && told.contains(r#""status":"terminating""#), "{told}");
    wire.runtime.heal_all();
    let told = waiting.last_mut().expect("one").until("}").await;
    assert!(told.starts_with("HTTP/1.1 200 ") && told.contains(r#""status":"terminated""#), "{told}");
    drop(waiting);
    wire.stop().await;
}

#[actix_web::test]
async fn a_stream_is_no_idle_connection() {
    let wire = with_one(8).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = wire.connect().await;
        stream.send("GET /v1/events?id=one HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
        stream.until("event: snapshot\n").await;
        streams.push(stream);
    }
    let refused = wire.exchange("GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("limit_reached"), "{refused}");
    let sockets = idle(&wire, 30).await;
    let answer =
        wire.exchange("DELETE /v1/sandboxes/one HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    for stream in &mut streams {
        stream.until("\"terminated\"").await;
    }
    drop((sockets, streams));
    wire.stop().await;
}
