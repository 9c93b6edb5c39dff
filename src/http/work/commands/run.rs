//! Runs commands.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use serde::Serialize;

use super::{
    super::sse,
    answers::{BegunAnswer, Collected, CommandAnswer, CommandStatus},
    requests::CommandRequest,
    told::told,
};
use crate::{
    domain::Moment,
    http::{
        body::Body,
        connection::Link,
        error::{ApiError, Code, ErrorAnswer},
        extract::Id,
        json::json,
    },
    sandboxes::{Sandboxes, ServingPhase},
    work::{Begun, Ending, Work, WorkError},
};

#[derive(Serialize)]
struct OfCommand<'a> {
    command_id: &'a str,
}

/// Runs a command.
///
/// It holds the sandbox while it runs: nobody has to ping. Answers when it has ended; with `Accept: text/event-stream` its
/// output as it comes: events `started`, `output` (bytes as base64), and `exited` at last; with `background` at once. A client
/// that hangs up does not end the command; its output is kept (the last MiB of each stream), and can be read by its
/// `command_id`. A program that cannot be executed is answered with exit code 126, one that is not there with 127.
#[utoipa::path(post, path = "/v1/sandboxes/{id}/commands", operation_id = "run_command", tag = "work",
    params(("id" = String, Path, description = "The sandbox")),
    request_body = CommandRequest,
    responses(
        (status = 200, description = "It has ended, or as events, its output as it comes", body = CommandAnswer),
        (status = 202, description = "With `background`: it runs", body = BegunAnswer),
        (status = 403, description = "`forbidden`: the user may not do that", body = ErrorAnswer),
        (status = 404, description = "`not_found`: no such sandbox, user or directory", body = ErrorAnswer),
        (status = 429, description = "`limit_reached`: as many commands run as can", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn run(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
    Body(body): Body<CommandRequest>,
) -> Result<HttpResponse, ApiError> {
    let background = body.background;
    let (command, stdin, ends) = body.into_command()?;
    let began = sandboxes.now().moment;
    let begun = match work.begin(&id, &command).await {
        Ok(begun) => begun,
        // What a shell says of a program that cannot be run.
        Err(WorkError::Refused { message, exit_code: Some(code), .. }) if !background && !sse::wanted(&request) => {
            let mut collected = Collected::new();
            collected.stderr = format!("{message}\n").into_bytes();
            collected.ending = Some(Ending { exit_code: Some(code), ..Ending::default() });
            let answer = collected.answer("", Some(Duration::ZERO));
            return Ok(json(StatusCode::OK, &answer, 512));
        }
        Err(error) => return Err(ApiError::of_work(&error, &sandboxes.now())),
    };
    if let Some(bytes) = stdin {
        work.feed(&id, &begun.id, bytes, ends);
    }
    if background {
        let answer = BegunAnswer { command_id: &begun.id, status: CommandStatus::Running };
        return Ok(json(StatusCode::ACCEPTED, &answer, 128));
    }
    if sse::wanted(&request) {
        let Begun { id: command, events } = begun;
        return Ok(sse::answer(&request, &sandboxes, StatusCode::OK, told(command, events)));
    }
    let link = request.conn_data::<Link>();
    tokio::select! {
        biased;
        answer = finished(&sandboxes, begun, began) => answer,
        // Nobody reads this; the command goes on.
        () = gone(link) => Err(ApiError::new(Code::InvalidRequest, "the client is gone")),
    }
}

async fn gone(link: Option<&Link>) {
    match link {
        Some(link) => link.ended().await,
        None => std::future::pending().await,
    }
}

/// Waits for the end of a command, as long as Sandglass serves.
async fn finished(sandboxes: &Sandboxes, mut begun: Begun, began: Moment) -> Result<HttpResponse, ApiError> {
    let mut phase = sandboxes.health().watch_phase();
    let mut collected = Collected::new();
    let collect = async {
        while let Some(event) = begun.events.next().await? {
            collected.take(event);
        }
        Ok::<_, WorkError>(())
    };
    tokio::select! {
        collected = collect => collected.map_err(|error| ApiError::of_work(&error, &sandboxes.now()))?,
        _ = phase.wait_for(|phase| *phase == ServingPhase::Stopping) => {
            let told = "sandglass is stopping; the command goes on: read on at its command_id once sandglass is back";
            return Err(ApiError::new(Code::Stopping, told).with(&OfCommand { command_id: &begun.id }));
        }
    }
    let answer = collected.answer(&begun.id, Some(sandboxes.now().moment.since(began)));
    Ok(json(StatusCode::OK, &answer, 512))
}
