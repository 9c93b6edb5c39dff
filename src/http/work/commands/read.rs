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
use tokio::time::{Instant, timeout_at};

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
    work::{CommandEvent, CommandInfo, From, Work, WorkError},
};

/// How long the output of a command that has ended may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long the output of one that runs is collected.
const SO_FAR: Duration = Duration::from_secs(1);
/// How long it is silent once what there is has come.
const QUIET: Duration = Duration::from_millis(50);
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
    // Of one that runs, what there is comes at once.
    let (quiet, whole) = if known.end.is_some() { (PATIENCE, PATIENCE) } else { (QUIET, SO_FAR) };
    let collected = collect(async || events.next().await, quiet, whole).await.map_err(failed)?;
    let until = known.end.as_ref().and_then(|(at, _)| *at).unwrap_or_else(|| sandboxes.now().wall());
    let duration = known.started_at.and_then(|began| Duration::try_from_secs_f64(until - began).ok());
    Ok(json(StatusCode::OK, &collected.answer(&command, duration), 512))
}

/// Collects what comes until the end, until nothing has come for `quiet`, or for `whole`: a command may keep writing.
async fn collect<E>(
    mut next: impl AsyncFnMut() -> Result<Option<CommandEvent>, E>,
    quiet: Duration,
    whole: Duration,
) -> Result<Collected, E> {
    let mut collected = Collected::new();
    let until = Instant::now() + whole;
    // A future that is ready has no timeout, so the clock is asked, too.
    while Instant::now() < until {
        match timeout_at(until.min(Instant::now() + quiet), next()).await {
            Ok(Ok(Some(event))) => collected.take(event),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(None)) | Err(_) => break,
        }
    }
    Ok(collected)
}

fn position(text: &str) -> Option<From> {
    let (stdout, stderr) = text.split_once('.')?;
    Some(From { stdout: stdout.parse().ok()?, stderr: stderr.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;

    use super::*;
    use crate::work::{Piece, Stream};

    #[tokio::test(start_paused = true)]
    async fn a_command_that_keeps_writing_is_answered_with_what_it_has_written() {
        let mut written = 0;
        let next = async || {
            tokio::time::sleep(QUIET / 2).await;
            written += 1;
            let piece =
                Piece { stream: Stream::Stdout, offset: written - 1, dropped: 0, bytes: Bytes::from_static(b"x") };
            Ok::<_, Infallible>(Some(CommandEvent::Output(piece)))
        };
        let collected = tokio::time::timeout(2 * SO_FAR, collect(next, QUIET, SO_FAR)).await;
        let Ok(Ok(collected)) = collected else { panic!("it is not answered") };
        assert!(!collected.stdout.is_empty());
    }
}
