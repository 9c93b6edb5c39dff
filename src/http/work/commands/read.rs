//! Lists commands, and reads what they have written.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web::Data,
};

use super::{
    super::sse,
    answers::{Collected, CommandAnswer, CommandStatus, CommandsAnswer, ListedCommand, signal_name, status_of},
    told::told,
};
use crate::{
    http::{
        error::{ApiError, Code, ErrorAnswer},
        extract::{CommandId, Id},
        json::json,
    },
    sandboxes::Sandboxes,
    work::{CommandInfo, From, Work, WorkError},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The commands of a sandbox: those that run, and the last ones that ended. No use.
#[utoipa::path(get, path = "/v1/sandboxes/{id}/commands", operation_id = "list_commands", tag = "work",
    params(("id" = String, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "The commands", body = CommandsAnswer),
        (status = 409, description = "`wrong_state`", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn list(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
) -> Result<HttpResponse, ApiError> {
    let commands = work.commands(&id).await.map_err(|error| ApiError::of_work(&error, &sandboxes.now()))?;
    let commands: Vec<_> = commands.iter().map(listed).collect();
    let capacity = 256 * (commands.len() + 1);
    Ok(json(StatusCode::OK, &CommandsAnswer { commands }, capacity))
}

fn listed(command: &CommandInfo) -> ListedCommand<'_> {
    let ending = command.end.as_ref().map(|(_, ending)| ending);
    ListedCommand {
        command_id: &command.id,
        command: &command.argv,
        pid: command.pid,
        status: ending.map_or(CommandStatus::Running, status_of),
        exit_code: ending.and_then(|ending| ending.exit_code),
        signal: ending.and_then(|ending| ending.signal).map(signal_name),
        timed_out: ending.is_some_and(|ending| ending.timed_out),
        started_at: command.started_at,
        ended_at: command.end.as_ref().and_then(|(at, _)| *at),
    }
}

/// One command, and its output so far.
///
/// As `text/event-stream`, its output so far and on, until its end; with `Last-Event-ID` only what came after that.
#[utoipa::path(get, path = "/v1/sandboxes/{id}/commands/{command}", operation_id = "get_command", tag = "work",
    params(
        ("id" = String, Path, description = "The sandbox"),
        ("command" = String, Path, description = "The command"),
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was seen"),
    ),
    responses(
        (status = 200, description = "The command", body = CommandAnswer),
        (status = 404, description = "`not_found`: no such sandbox or command", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn get(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    CommandId(command): CommandId,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let failed = |error: WorkError| ApiError::of_work(&error, &sandboxes.now());
    if sse::wanted(&request) {
        let last = request.headers().get(LAST_EVENT_ID).map(HeaderValue::to_str);
        let from = last.and_then(|last| position(last.ok()?)).unwrap_or_default();
        let events = work.read(&id, &command, from).await.map_err(failed)?;
        return Ok(sse::answer(&request, &sandboxes, StatusCode::OK, told(command, events)));
    }
    let commands = work.commands(&id).await.map_err(failed)?;
    let Some(known) = commands.into_iter().find(|known| known.id == command) else {
        return Err(ApiError::new(Code::NotFound, format!("there is no command {command} in sandbox {id}")));
    };
    let mut events = work.read(&id, &command, From::default()).await.map_err(failed)?;
    let mut collected = Collected::new();
    // Of one that runs, what there is comes at once.
    let patience = if known.end.is_some() { Duration::from_secs(10) } else { Duration::from_millis(50) };
    while let Ok(event) = tokio::time::timeout(patience, events.next()).await {
        match event.map_err(failed)? {
            Some(event) => collected.take(event),
            None => break,
        }
    }
    let until = known.end.as_ref().and_then(|(at, _)| *at).unwrap_or_else(|| sandboxes.now().wall());
    let duration = known.started_at.and_then(|began| Duration::try_from_secs_f64(until - began).ok());
    Ok(json(StatusCode::OK, &collected.answer(&command, duration), 512))
}

fn position(text: &str) -> Option<From> {
    let (stdout, stderr) = text.split_once('.')?;
    Some(From { stdout: stdout.parse().ok()?, stderr: stderr.parse().ok()? })
}
