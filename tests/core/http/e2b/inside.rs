//! Logs and metrics.

use std::time::Duration;

use sandglass::runtime::memory::{Point, When};
use serde_json::json;

use super::created;
use crate::{
    http::client::{Client, start},
    support::bench::{Bench, id},
};

#[actix_web::test]
async fn logs_are_lines_with_their_time_in_the_shape_of_each_version() {
    let (bench, client) = start(&[]).await;
    let sandbox = created(&client, json!({})).await;
    assert!(bench.runtime.write_output(&id(&sandbox), "one\ntwo\nthree\n"));
    let old = client.get(&format!("/sandboxes/{sandbox}/logs?limit=2")).await;
    let lines = |list: &serde_json::Value, field: &str| {
        let lines = list.as_array().expect("a list").clone();
        lines.iter().map(|line| line[field].as_str().expect("a text").to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(lines(&old.must_succeed(200).json["logs"], "line"), "one two");
    assert_eq!(lines(&old.json["logEntries"], "message"), "one two");
    let recent = client.get(&format!("/v2/sandboxes/{sandbox}/logs?limit=2&direction=backward")).await;
    assert_eq!(lines(&recent.must_succeed(200).json["logs"], "message"), "three two");
    let line = &recent.json["logs"][0];
    assert_eq!((&line["level"], &line["fields"]), (&json!("info"), &json!({ "stream": "stdout" })));
    assert!(humantime::parse_rfc3339(line["timestamp"].as_str().expect("a time")).is_ok());
    for wrong in ["limit=1001", "limit=x", "cursor=x", "direction=up"] {
        client.get(&format!("/v2/sandboxes/{sandbox}/logs?{wrong}")).await.must_refuse(400);
    }
    client.get("/v2/sandboxes/nobody/logs").await.must_refuse(404);
}

#[actix_web::test]
async fn metrics_are_one_sample_of_just_now() {
    let (_bench, client) = start(&[]).await;
    let sandbox = created(&client, json!({})).await;
    let path = format!("/sandboxes/{sandbox}/metrics");
    let answer = client.get(&path).await;
    let sample = answer.must_succeed(200).json[0].as_object().expect("a sample").clone();
    for field in ["timestampUnix", "cpuCount", "cpuUsedPct", "memUsed", "memTotal", "memCache", "diskUsed", "diskTotal"]
    {
        assert!(sample[field].is_number(), "{field}: {}", answer.text);
    }
    assert!(sample["timestamp"].is_string());
    // The engine in memory has no clock for this.
    assert_eq!(client.get(&format!("{path}?start=0&end=60")).await.json.as_array().expect("a list").len(), 1);
    assert_eq!(client.get(&format!("{path}?start=60")).await.must_succeed(200).json, json!([]));
    client.get(&format!("{path}?start=x")).await.must_refuse(400);
    client.get("/sandboxes/nobody/metrics").await.must_refuse(404);
}

#[actix_web::test]
async fn metrics_tell_the_last_known_disk_while_the_agent_does_not_answer() {
    let bench = Bench::with_agents(&[]).await;
    let client = Client::of(&bench.supervisor).await;
    let sandbox = created(&client, json!({})).await;
    let path = format!("/sandboxes/{sandbox}/metrics");
    let known = client.get(&path).await.must_succeed(200).json[0]["diskTotal"].clone();
    assert!(known.as_u64().is_some_and(|bytes| bytes > 0), "{known}");
    bench.runtime.hang(Point::Wire, When::Before);
    let answer = client.get(&path).await;
    assert_eq!(answer.must_succeed(200).json[0]["diskTotal"], known);
    assert!(answer.json[0]["diskUsed"].as_u64().is_some_and(|bytes| bytes > 0), "{}", answer.text);
    bench.supervisor.terminate(&id(&sandbox), Duration::ZERO).await.expect("it ends");
}
