//! The server itself, over a real socket.

use std::{net::TcpListener, time::Duration};

use reqwest::{Client, StatusCode};
use sandglass::{runtime::Memory, store::MemoryStore};
use serde_json::Value;

use crate::bench::{settings, supervisor, wall_clock};

#[actix_web::test]
async fn a_server_answers_over_its_listener_until_it_is_stopped() {
    let supervisor = supervisor(&settings(&[]), &MemoryStore::new(), &Memory::new(), &wall_clock());
    supervisor.begin().await.expect("the lease is free");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = sandglass::http::server(supervisor.clone(), listener, 1).expect("a server");
    let handle = server.handle();
    let running = tokio::spawn(server);
    let (client, url) = (Client::new(), format!("http://{address}"));

    let created = client.post(format!("{url}/v1/sandboxes")).body(r#"{"id": "one"}"#).send().await.expect("an answer");
    assert_eq!(created.status(), StatusCode::CREATED);
    let pinged = client.post(format!("{url}/v1/sandboxes/one/activity")).send().await.expect("an answer");
    assert_eq!(pinged.status(), StatusCode::OK);
    let pinged: Value = serde_json::from_slice(&pinged.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(pinged["sandbox_id"], "one");
    let head = client.head(format!("{url}/v1/sandboxes/one")).send().await.expect("an answer");
    assert_eq!(head.status(), StatusCode::OK);
    assert!(head.bytes().await.expect("a body").is_empty());
    let large = client.post(format!("{url}/v1/sandboxes")).body(vec![b' '; 1_048_577]).send().await.expect("an answer");
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);

    let ended = tokio::time::timeout(Duration::from_secs(10), handle.stop(true));
    ended.await.expect("it stops within its grace");
    running.await.expect("no panic").expect("a clean end");
    assert!(client.get(format!("{url}/healthz")).send().await.is_err());
}
