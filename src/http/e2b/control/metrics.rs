//! What a sandbox uses, measured now: Sandglass keeps no history of it.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use serde::Serialize;
use tokio::time::timeout;

use super::{
    answers::{rfc3339, state},
    life::alive,
};
use crate::{
    http::{
        e2b::{error::Refusal, extract::Id, query::Query},
        json::json,
    },
    sandboxes::Sandboxes,
    work::Work,
};

/// How long the agent may take to tell of its disk. The rest takes up to two seconds anyway.
const PATIENCE: Duration = Duration::from_secs(2);

/// A sample; sizes are in bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sample {
    timestamp: String,
    timestamp_unix: i64,
    cpu_count: u64,
    cpu_used_pct: f64,
    mem_used: u64,
    mem_total: u64,
    mem_cache: u64,
    disk_used: u64,
    disk_total: u64,
}

/// Measures what a sandbox uses. There is nothing to measure of one that is paused.
pub(super) async fn metrics(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let query = Query::of(&request)?;
    let (start, end): (Option<i64>, Option<i64>) = (query.number("start")?, query.number("end")?);
    let sandbox = alive(&sandboxes, &id).await?;
    if state(&sandbox) == "paused" {
        return Ok(json(StatusCode::OK, &[(); 0], 2));
    }
    let (load, disk) = tokio::join!(work.load(&id), timeout(PATIENCE, work.disk(&id)));
    let load = load.map_err(|error| Refusal::of_work(&error, &sandboxes.now()))?;
    // SDKs need numbers: where nobody has ever known, they are 0.
    let disk = disk.ok().and_then(Result::ok).or_else(|| work.last_known_disk(&id)).unwrap_or_default();
    let sample = Sample {
        timestamp: rfc3339(load.at),
        timestamp_unix: load.at as i64,
        cpu_count: load.cpu_limit.ceil() as u64,
        cpu_used_pct: if load.cpu_limit > 0.0 { load.cpus / load.cpu_limit * 100.0 } else { 0.0 },
        mem_used: load.memory_bytes,
        mem_total: load.memory_limit_bytes,
        mem_cache: load.cache_bytes,
        disk_used: disk.used,
        disk_total: disk.total,
    };
    // Times in requests are whole seconds.
    let (first, last) = (start.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX));
    let samples: Vec<_> =
        Some(sample).into_iter().filter(|sample| is_within(sample.timestamp_unix, first, last)).collect();
    Ok(json(StatusCode::OK, &samples, 512))
}

/// Whether a sample of just now is asked for. A clock of a client may be a little late.
fn is_within(at: i64, first: i64, last: i64) -> bool {
    const CLOCKS_DIFFER: i64 = 5;
    first.saturating_sub(CLOCKS_DIFFER) <= at && at <= last.saturating_add(CLOCKS_DIFFER)
}
