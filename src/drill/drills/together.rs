//! Many sandboxes, created at once and kept alive until all are there.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::interval;

use crate::drill::{instance::Instance, ledger::Ledger};

/// How many creates are asked for at once.
const AT_ONCE: usize = 8;
const PING_EVERY: Duration = Duration::from_millis(500);

pub(super) async fn create_all(
    instance: &Instance,
    ledger: &Ledger,
    ids: &[String],
    idle_timeout: Duration,
) -> anyhow::Result<()> {
    let bodies: Vec<_> = ids.iter().map(|id| json!({ "id": id, "idle_timeout": idle_timeout.as_secs_f64() })).collect();
    stream::iter(bodies)
        .map(|body| async move { ledger.must_create(instance, &body).await.map(drop) })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Pings all that are there, until it is dropped.
pub(super) async fn keep_alive(instance: &Instance, ledger: &Ledger) -> anyhow::Result<()> {
    let mut ticks = interval(PING_EVERY);
    loop {
        ticks.tick().await;
        ledger.ping_all(instance, &ledger.ids()).await?;
    }
}
