//! Snapshots: taken of sandboxes, listed, removed, and forked.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use serde::{Deserialize, Serialize};

use super::{
    answers::SandboxAnswer,
    timeouts::{OLD, positive},
};
use crate::{
    domain::{Sandbox, snapshot::Snapshot},
    http::{
        connection::Link,
        e2b::{
            error::Refusal,
            extract::{Body, Id},
            query::{Query, page},
        },
        json::json,
    },
    sandboxes::{RequestError, Sandboxes, SnapshotRequest},
};

#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct NewSnapshot {
    name: Option<String>,
    memory: Option<bool>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct ForkRequest {
    timeout: Option<f64>,
    count: Option<usize>,
}

#[derive(Serialize)]
struct SnapshotInfo<'a> {
    #[serde(rename = "snapshotID")]
    id: &'a str,
    names: Vec<&'a str>,
}

impl<'a> SnapshotInfo<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        Self { id: snapshot.id.as_str(), names: snapshot.name.as_deref().into_iter().collect() }
    }
}

/// One sandbox of a fork, or why there is none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Fork<'a> {
    Sandbox(SandboxAnswer<'a>),
    Error(Failure),
}

#[derive(Serialize)]
struct Failure {
    code: u16,
    message: String,
}

/// Takes a snapshot of a sandbox's files.
pub(super) async fn take(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(request): Body<NewSnapshot>,
) -> Result<HttpResponse, Refusal> {
    if request.memory == Some(true) {
        let rule = "only files are kept, not the memory: leave it out, or ask for false";
        return Err(Refusal::field("memory", rule));
    }
    let request = SnapshotRequest { name: request.name, passing: false };
    let snapshot = sandboxes.take_snapshot(&id, request).await.map_err(|error| refused(&error, &sandboxes))?;
    Ok(json(StatusCode::CREATED, &SnapshotInfo::of(&snapshot), 128))
}

/// Lists snapshots, the newest first, page by page.
pub(super) async fn list(sandboxes: Data<Sandboxes>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let query = Query::of(&request)?;
    let limit = query.page()?;
    let (sandbox, name) = (query.text("sandboxID"), query.text("name"));
    let mut found = sandboxes.snapshots().await.map_err(|error| refused(&error, &sandboxes))?;
    found.retain(|snapshot| {
        let of_sandbox = sandbox.is_none_or(|sandbox| snapshot.sandbox.as_str() == sandbox);
        let of_name = name.is_none_or(|name| snapshot.is_called(name));
        !snapshot.passing && of_sandbox && of_name
    });
    if let Some(token) = query.text("nextToken") {
        // One that was removed meanwhile leaves a place that only its time could tell.
        let last = found.iter().position(|snapshot| snapshot.id.as_str() == token);
        let Some(last) = last else {
            return Err(Refusal::field("nextToken", "there is no such snapshot any more: list from the beginning"));
        };
        found.drain(..=last);
    }
    Ok(page(
        found,
        limit,
        |snapshot| snapshot.id.to_string(),
        |page| {
            let infos: Vec<_> = page.iter().map(SnapshotInfo::of).collect();
            json(StatusCode::OK, &infos, 128 * (infos.len() + 1))
        },
    ))
}

/// Removes a snapshot. Templates are part of the configuration, and nobody removes them here.
pub(super) async fn remove(sandboxes: Data<Sandboxes>, path: Path<String>) -> Result<HttpResponse, Refusal> {
    let called = path.into_inner();
    let found = sandboxes.find_snapshot(&called).await.map_err(|error| refused(&error, &sandboxes))?;
    let removed = match found {
        Some(snapshot) => sandboxes.remove_snapshot(&snapshot.id).await.map_err(|error| refused(&error, &sandboxes))?,
        None => false,
    };
    match removed {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(Refusal::new(StatusCode::NOT_FOUND, format!("there is no snapshot {called:?}"))),
    }
}

/// Makes sandboxes of the files that another one has now.
pub(super) async fn fork(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
    Body(asked): Body<ForkRequest>,
) -> Result<HttpResponse, Refusal> {
    let timeout: Duration = asked.timeout.map_or(Ok(OLD), |seconds| positive("timeout", seconds))?;
    let forking = sandboxes.fork(&id, asked.count.unwrap_or(1), Some(timeout));
    let forks = match request.conn_data::<Link>() {
        Some(link) => {
            let _held = link.hold();
            tokio::select! {
                biased;
                forks = forking => forks,
                () = link.ended() => return Err(Refusal::new(StatusCode::BAD_REQUEST, "the client is gone")),
            }
        }
        None => forking.await,
    };
    let forks = forks.map_err(|error| refused(&error, &sandboxes))?;
    let answers: Vec<_> = forks.iter().map(|fork| answer(fork, &sandboxes)).collect();
    Ok(json(StatusCode::CREATED, &answers, 512 * (answers.len() + 1)))
}

fn answer<'a>(fork: &'a Result<Sandbox, RequestError>, sandboxes: &'a Sandboxes) -> Fork<'a> {
    match fork {
        Ok(sandbox) => Fork::Sandbox(SandboxAnswer::of(sandbox, sandboxes)),
        Err(error) => {
            let refusal = refused(error, sandboxes);
            Fork::Error(Failure { code: refusal.status().as_u16(), message: refusal.message().to_owned() })
        }
    }
}

/// An image may have been made, so clients must not repeat the call by themselves.
fn refused(error: &RequestError, sandboxes: &Sandboxes) -> Refusal {
    Refusal::of(error, &sandboxes.now())
}
