//! What the container of a sandbox uses.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::EpochSeconds,
    http::{
        error::{ApiError, ErrorAnswer},
        extract::Id,
        json::json,
    },
    sandboxes::Sandboxes,
    work::Work,
};

/// What a container uses. Counters go on from its start.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stats)]
pub(in crate::http) struct StatsAnswer {
    /// When it was measured.
    at: EpochSeconds,
    /// Seconds of processor time that it has used.
    cpu_seconds: f64,
    /// How many cores it uses just now; 0.5: half of one.
    cpus: f64,
    /// How many cores the machine has.
    cpus_available: f64,
    /// Bytes of memory in use, without the kernel's cache of files.
    memory_bytes: u64,
    /// Bytes of that cache.
    cache_bytes: u64,
    /// The limit of its memory in bytes.
    memory_limit_bytes: u64,
    /// How many processes and threads it has.
    pids: u64,
    /// Traffic by network interface.
    network: BTreeMap<String, TrafficAnswer>,
    /// Bytes read from disks.
    disk_read_bytes: u64,
    /// Bytes written to disks.
    disk_written_bytes: u64,
}

/// Traffic of a network interface.
#[derive(Debug, Serialize, ToSchema)]
struct TrafficAnswer {
    /// Bytes received.
    received_bytes: u64,
    /// Bytes sent.
    sent_bytes: u64,
}

/// What the container of a sandbox uses. Takes a second or two, since a share of a processor is that of an interval. No use.
#[utoipa::path(get, path = "/v1/sandboxes/{id}/stats", operation_id = "stats", tag = "work",
    params(("id" = String, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "What it uses", body = StatsAnswer),
        (status = 409, description = "`wrong_state`: its container does not run", body = ErrorAnswer),
        (status = 501, description = "`no_agent`: this engine cannot tell", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn stats(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
) -> Result<HttpResponse, ApiError> {
    let load = work.load(&id).await.map_err(|error| ApiError::of_work(&error, &sandboxes.now()))?;
    let traffic = |(name, (received_bytes, sent_bytes))| (name, TrafficAnswer { received_bytes, sent_bytes });
    let answer = StatsAnswer {
        at: load.at,
        cpu_seconds: load.cpu_seconds,
        cpus: load.cpus,
        cpus_available: load.cpu_limit,
        memory_bytes: load.memory_bytes,
        cache_bytes: load.cache_bytes,
        memory_limit_bytes: load.memory_limit_bytes,
        pids: load.pids,
        network: load.network.into_iter().map(traffic).collect(),
        disk_read_bytes: load.disk.0,
        disk_written_bytes: load.disk.1,
    };
    Ok(json(StatusCode::OK, &answer, 512))
}
