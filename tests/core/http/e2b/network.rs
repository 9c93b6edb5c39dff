//! What sandboxes reach.

use sandglass::domain::egress::Ranges;
use serde_json::json;

use super::{create, created, request};
use crate::{
    http::client::{Client, start},
    support::bench::{Bench, id},
};

fn in_force(bench: &Bench, sandbox: &str) -> Ranges {
    bench.runtime.rules_of(&id(sandbox)).expect("it has rules in force").request
}

async fn update(client: &Client, sandbox: &str, body: serde_json::Value) -> u16 {
    let request = request("PUT", &format!("/sandboxes/{sandbox}/network")).set_payload(body.to_string());
    client.send(request).await.status.as_u16()
}

#[actix_web::test]
async fn what_may_not_be_reached_is_shut_from_the_start_and_changed_as_a_whole() {
    let (bench, client) = start(&[("docker.network", "isolated")]).await;
    let shut = created(&client, json!({ "allow_internet_access": false })).await;
    assert_eq!(in_force(&bench, &shut), Ranges::all_shut());
    let some = json!({ "network": { "allowOut": ["8.8.8.8"], "denyOut": ["0.0.0.0/0"] } });
    let some = created(&client, some).await;
    assert_eq!(json!(in_force(&bench, &some)), json!({ "allow": ["8.8.8.8/32"], "deny": ["0.0.0.0/0"] }));
    let shown = client.get(&format!("/sandboxes/{some}")).await.must_succeed(200).json["network"].clone();
    assert_eq!((&shown["allowOut"], &shown["denyOut"]), (&json!(["8.8.8.8/32"]), &json!(["0.0.0.0/0"])));

    assert_eq!(update(&client, &some, json!({ "denyOut": ["203.0.113.0/24"] })).await, 204);
    assert_eq!(json!(in_force(&bench, &some)), json!({ "deny": ["203.0.113.0/24"] }));
    assert_eq!(update(&client, &some, json!({ "allow_internet_access": false })).await, 204);
    assert_eq!(in_force(&bench, &some), Ranges::all_shut());
    for refused in [json!({ "allowOut": ["example.com"] }), json!({ "rules": { "example.com": [{}] } })] {
        assert_eq!(update(&client, &some, refused).await, 400);
        assert_eq!(in_force(&bench, &some), Ranges::all_shut());
    }
    assert_eq!(update(&client, &some, json!({})).await, 204);
    assert_eq!(in_force(&bench, &some), Ranges::default());
    assert_eq!(update(&client, "nobody", json!({})).await, 404);
}

#[actix_web::test]
async fn where_there_are_no_walls_what_nobody_would_keep_is_refused() {
    let (bench, client) = start(&[("docker.network", "default")]).await;
    for more in [json!({ "allow_internet_access": false }), json!({ "network": { "denyOut": ["8.8.8.8"] } })] {
        let refused = create(&client, more).await;
        assert!(refused.must_refuse(400).says().contains("isolated"), "{}", refused.text);
    }
    assert!(bench.runtime.is_empty());
}
