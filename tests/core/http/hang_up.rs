//! Clients that disconnect before the answer.

use std::time::Duration;

use actix_web::rt::time::sleep;
use sandglass::{
    domain::SandboxId,
    runtime::memory::{Point, When},
    sandboxes::Filter,
};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, timeout},
};

use super::wire::{SOON, Wire};

fn create(query: &str, body: &str) -> String {
    format!("POST /v1/sandboxes{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Waits for the only sandbox.
async fn the_one(wire: &Wire) -> SandboxId {
    let deadline = Instant::now() + SOON;
    loop {
        let mut snapshot = wire.supervisor.snapshot(&Filter::default());
        let all = wire.supervisor.next_page(&mut snapshot, &Filter::default()).await;
        if let [one] = all.as_slice() {
            return one.id().clone();
        }
        assert!(Instant::now() < deadline, "nothing was created");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Creates a sandbox by `body`, and hangs up while its start hangs at `point`.
async fn hung_up(point: Point, body: &str) -> (Wire, SandboxId) {
    let wire = Wire::start(64, &[]).await;
    wire.runtime.hang(point, When::Before);
    let mut socket = wire.connect().await;
    socket.send(create("", body)).await;
    let id = the_one(&wire).await;
    (wire, id)
}

#[actix_web::test]
async fn a_sandbox_whose_creator_hangs_up_before_it_knows_the_id_ends_when_its_start_is_done() {
    let (wire, id) = hung_up(Point::Ready, "").await;
    // Nothing may happen before the start has finished.
    sleep(Duration::from_millis(200)).await;
    wire.until(&id, "pending", |seen| seen["status"] == "pending").await;
    wire.runtime.heal(Point::Ready);
    let ended = wire.until(&id, "terminated", |seen| seen["status"] == "terminated").await;
    assert_eq!(ended["reason"], "requested", "{ended}");
    assert!(wire.runtime.is_empty());
    wire.stop().await;
}

#[actix_web::test]
async fn a_start_that_fails_after_its_creator_hung_up_leaves_nothing() {
    let (wire, id) = hung_up(Point::Pull, "").await;
    let error = sandglass::ports::runtime::RuntimeError::Failed("no such image".to_owned());
    wire.runtime.fail_always(Point::Pull, When::Before, error);
    let ended = wire.until(&id, "failed", |seen| seen["status"] == "failed").await;
    assert_eq!(ended["reason"], "start_failed", "{ended}");
    assert!(wire.runtime.is_empty());
    wire.stop().await;
}

#[actix_web::test]
async fn a_sandbox_whose_creator_hangs_up_stays_when_somebody_else_uses_it() {
    let (wire, id) = hung_up(Point::Ready, "").await;
    wire.supervisor.touch(&id, sandglass::domain::ActivitySource::Ping).await.expect("it is alive");
    wire.runtime.heal(Point::Ready);
    wire.until(&id, "running", |seen| seen["status"] == "running").await;
    sleep(Duration::from_millis(300)).await;
    wire.until(&id, "running", |seen| seen["status"] == "running").await;
    wire.stop().await;
}

#[actix_web::test]
async fn a_sandbox_with_an_id_of_its_client_s_own_stays_when_that_one_hangs_up() {
    let (wire, id) = hung_up(Point::Ready, r#"{"id": "mine"}"#).await;
    wire.runtime.heal(Point::Ready);
    wire.until(&id, "running", |seen| seen["status"] == "running").await;
    sleep(Duration::from_millis(300)).await;
    wire.until(&id, "running", |seen| seen["status"] == "running").await;
    wire.stop().await;
}

#[actix_web::test]
async fn who_does_not_wait_for_the_start_may_hang_up_at_once() {
    let wire = Wire::start(64, &[]).await;
    let mut socket = wire.connect().await;
    socket.send(create("?wait=0", "")).await;
    socket.0.shutdown().await.expect("its side is closed");
    let answer = socket.rest().await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let id = the_one(&wire).await;
    wire.until(&id, "running", |seen| seen["status"] == "running").await;
    wire.stop().await;
}

#[actix_web::test]
async fn who_closes_only_its_own_side_before_the_answer_is_told_what_that_means() {
    let wire = Wire::start(64, &[]).await;
    wire.runtime.hang(Point::Ready, When::Before);
    let mut socket = wire.connect().await;
    socket.send(create("", "")).await;
    let id = the_one(&wire).await;
    socket.0.shutdown().await.expect("its side is closed");
    let answer = timeout(SOON, socket.rest()).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("give an id"), "{answer}");
    wire.runtime.heal(Point::Ready);
    wire.until(&id, "terminated", |seen| seen["status"] == "terminated").await;
    wire.stop().await;
}
