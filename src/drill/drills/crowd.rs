//! Many sandboxes fall due in the same second, and somebody creates one more in the middle of it.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::together::{create_all, keep_alive};
use crate::drill::{findings::Findings, ground::Ground, instance::Instance, ledger::Ledger};

/// Pinged until all are there, they fall due this long after the last ping.
const IDLE_TIMEOUT: Duration = Duration::from_secs(6);
/// How long the last of the crowd may wait for all others.
const WITHIN: Duration = Duration::from_secs(180);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let count = ground.rounds(100);
    let instance = ground.serve(&[]).await?;
    let ledger = Ledger::default();
    let alone = create(&ground, &instance, &ledger, "alone").await?;
    ground.say(format!("creating {count} sandboxes"));
    let ids: Vec<String> = (0..count).map(|number| ground.id(&format!("crowd-{number}"))).collect();
    tokio::select! {
        created = create_all(&instance, &ledger, &ids, IDLE_TIMEOUT) => created?,
        broken = keep_alive(&instance, &ledger) => broken?,
    }
    ledger.ping_all(&instance, &ids).await?;
    ground.say(format!("waiting {IDLE_TIMEOUT:?} until all are due in the same moment"));
    sleep(IDLE_TIMEOUT + Duration::from_millis(200)).await;
    let crowded = create(&ground, &instance, &ledger, "crowded").await?;
    let mut findings = Findings::new(format!("{count} containers due in the same moment, one created in the middle"));
    findings.measured("create, alone", format!("{:.2} s", alone.as_secs_f64()));
    findings.measured("create, among them", format!("{:.2} s", crowded.as_secs_f64()));
    ground.settle(instance, &ledger, WITHIN, &mut findings).await?;
    Ok(findings)
}

/// One create, and how long it took.
async fn create(ground: &Ground, instance: &Instance, ledger: &Ledger, name: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    ledger.must_create(instance, &json!({ "id": ground.id(name), "idle_timeout": IDLE_TIMEOUT.as_secs() })).await?;
    Ok(began.elapsed())
}
