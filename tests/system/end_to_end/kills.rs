//! `kill -9`, again and again.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{directory, on_a_file};
use crate::support::docker::Corner;

#[tokio::test]
async fn what_is_overdue_ends_also_when_the_process_never_outlives_its_grace() {
    let (directory, corner) = (directory(), Corner::new().await);
    let grace = ["--set", "lifecycle.restart_grace=6"];
    let id = corner.prefix.as_str();
    let mut program = on_a_file(&directory, &corner, &grace).await;
    program.create(&json!({"id": id, "idle_timeout": 1})).await;
    let began = Instant::now();
    for _ in 0..20 {
        program.kill().await;
        program = on_a_file(&directory, &corner, &grace).await;
        sleep(Duration::from_secs(2)).await;
        let seen = program.get(&format!("/v1/sandboxes/{id}")).await.body;
        if seen["status"] == "terminated" {
            assert_eq!(seen["reason"], "idle");
            assert!(began.elapsed() > Duration::from_secs(3), "most of the grace was granted");
            return;
        }
    }
    panic!("kept alive by being killed for {:?}", began.elapsed());
}
