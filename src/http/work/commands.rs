//! Commands: begins them, reads what they write, and sends them input and signals.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web::{Bytes, Data},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{Stream, stream};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sse;
use crate::{
    domain::{
        EpochSeconds, Moment,
        leaf::{EnvName, Leaf, Text, Timeout, object_or_null},
    },
    http::{
        body::Body,
        error::{ApiError, Code, ErrorAnswer},
        extract::{CommandId, Id},
        json::json,
    },
    sandboxes::{Sandboxes, ServingPhase},
    work::{
        Begun, Command, CommandEvent, CommandInfo, Ending, Events, From, Input, Piece, Program, Stream as Output, Tty,
        Work, WorkError,
    },
};

/// How much of each stream an answer has: the end of it.
const MOST_OUTPUT: usize = 1 << 20;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A command to be run: either `command` or `shell`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct CommandRequest {
    /// A program and its arguments.
    #[schema(value_type = Option<Vec<String>>)]
    command: Option<Vec<Text>>,
    /// A line for the shell: bash where the image has one, else sh.
    #[schema(value_type = Option<String>)]
    shell: Option<Text>,
    /// Environment variables, beside and over the container's.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    env: Option<BTreeMap<EnvName, Text>>,
    /// The directory that it runs in; left out: the container's own.
    #[schema(value_type = Option<String>)]
    cwd: Option<Text>,
    /// Who runs it: a name or `UID[:GID]`; left out: whom the image names.
    #[schema(value_type = Option<String>)]
    user: Option<Text>,
    /// Seconds after which it is ended, more than 0, or a duration such as "10m"; left out: never.
    #[schema(value_type = Option<f64>)]
    timeout: Option<Timeout>,
    /// Its standard input; left out: none.
    #[schema(value_type = Option<String>)]
    stdin: Option<String>,
    /// Whether its standard input stays open after that, for `…/input`.
    #[serde(default)]
    stdin_open: bool,
    /// Whether the answer does not wait for its end: 202 with its `command_id`.
    #[serde(default)]
    background: bool,
    /// The terminal that it runs in; left out: none.
    #[serde(default, deserialize_with = "object_or_null")]
    tty: Option<TtySize>,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct TtySize {
    /// Columns.
    #[schema(value_type = u16, minimum = 1)]
    cols: std::num::NonZeroU16,
    /// Rows.
    #[schema(value_type = u16, minimum = 1)]
    rows: std::num::NonZeroU16,
}

impl TtySize {
    fn tty(self) -> Tty {
        Tty { cols: self.cols.get(), rows: self.rows.get() }
    }
}

/// Input for a command.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct InputRequest {
    /// The input as text.
    text: Option<String>,
    /// The input as base64, for bytes that are no text.
    base64: Option<String>,
    /// Whether its standard input ends after that.
    #[serde(default)]
    eof: bool,
}

/// A signal for a command.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct SignalRequest {
    /// Its name, such as `SIGINT` or `TERM`.
    #[schema(pattern = "^(SIG)?[A-Z0-9]+$")]
    signal: String,
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CommandStatus {
    /// It runs.
    Running,
    /// It has ended, and it is known how.
    Exited,
    /// It has ended with its sandbox or its agent; nobody knows how.
    Lost,
}

/// A command, and what it has written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CommandAnswer)]
pub(in crate::http) struct CommandAnswer<'a> {
    /// Its name for further calls; empty: it could not be run at all.
    command_id: &'a str,
    /// How far it is.
    status: CommandStatus,
    /// Its exit code; 126: it could not be executed, 127: there is no such program; null: it runs, a signal ended it, or
    /// nobody knows.
    exit_code: Option<i32>,
    /// The signal that ended it, such as `SIGKILL`.
    signal: Option<&'static str>,
    /// Whether its timeout ended it.
    timed_out: bool,
    /// The end of its standard output, at most 1 MiB, as text; with a terminal, all that it shows.
    stdout: String,
    /// The end of its standard error, at most 1 MiB, as text.
    stderr: String,
    /// Whether there was more output than that.
    truncated: bool,
    /// Seconds from its begin to its end, or until now.
    duration: Option<f64>,
}

/// A command as it is listed.
#[derive(Debug, Serialize, ToSchema)]
struct ListedCommand<'a> {
    /// Its name for further calls.
    command_id: &'a str,
    /// The program and its arguments.
    command: &'a [String],
    /// Its number inside the sandbox.
    pid: u32,
    /// How far it is.
    status: CommandStatus,
    /// Its exit code; null: it runs, or a signal ended it.
    exit_code: Option<i32>,
    /// The signal that ended it.
    signal: Option<&'static str>,
    /// Whether its timeout ended it.
    timed_out: bool,
    /// When it began.
    started_at: Option<EpochSeconds>,
    /// When it ended.
    ended_at: Option<EpochSeconds>,
}

/// The commands of a sandbox.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CommandsAnswer<'a> {
    /// Those that run, and the last ones that ended.
    commands: Vec<ListedCommand<'a>>,
}

/// A command that was begun in the background.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct BegunAnswer<'a> {
    /// Its name for further calls.
    command_id: &'a str,
    /// How far it is.
    status: CommandStatus,
}

/// What was written, as an event.
#[derive(Serialize)]
struct OutputEvent {
    stream: Output,
    /// The position of its first byte in the stream.
    offset: u64,
    /// How many bytes before it are lost, since nobody read them in time.
    #[serde(skip_serializing_if = "is_zero")]
    dropped: u64,
    /// The bytes as base64.
    data: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct StartedEvent<'a> {
    command_id: &'a str,
    pid: u32,
}

#[derive(Serialize)]
struct EndedEvent {
    status: CommandStatus,
    exit_code: Option<i32>,
    signal: Option<&'static str>,
    timed_out: bool,
}

#[derive(Serialize)]
struct OfCommand<'a> {
    command_id: &'a str,
}

impl CommandRequest {
    fn into_command(self) -> Result<(Command, Option<Vec<u8>>, bool), ApiError> {
        let program = match (self.command.plain(), self.shell.plain()) {
            (Some(_), Some(_)) => return Err(ApiError::field("shell", "either this or command, not both")),
            (Some(argv), None) => Program::Argv(argv),
            (None, Some(line)) => Program::Shell(line),
            (None, None) => return Err(ApiError::field("command", "missing; give either command or shell")),
        };
        let stdin = self.stdin.map(String::into_bytes);
        let command = Command {
            program,
            env: self.env.unwrap_or_default().plain(),
            cwd: self.cwd.plain(),
            user: self.user.plain(),
            timeout: self.timeout.plain(),
            stdin: stdin.is_some() || self.stdin_open,
            tty: self.tty.map(TtySize::tty),
        };
        let ends = !self.stdin_open;
        Ok((command, stdin.map(|bytes| (bytes, ends)).map(|(bytes, _)| bytes), ends))
    }
}

/// The name of a signal.
fn signal_name(number: i32) -> &'static str {
    Signal::try_from(number).map_or("unknown", Signal::as_str)
}

fn status_of(ending: &Ending) -> CommandStatus {
    if ending.lost { CommandStatus::Lost } else { CommandStatus::Exited }
}

/// Collects what a command tells.
struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
    ending: Option<Ending>,
}

impl Collected {
    fn new() -> Self {
        Self { stdout: Vec::new(), stderr: Vec::new(), truncated: false, ending: None }
    }

    fn take(&mut self, event: CommandEvent) {
        match event {
            CommandEvent::Started(_) => {}
            CommandEvent::Ended(ending) => self.ending = Some(ending),
            CommandEvent::Output(Piece { stream, dropped, bytes, .. }) => {
                let kept = if stream == Output::Stdout { &mut self.stdout } else { &mut self.stderr };
                kept.extend_from_slice(&bytes);
                self.truncated |= dropped > 0;
                // The front is cut off now and then, not at every piece.
                if kept.len() > 2 * MOST_OUTPUT {
                    kept.drain(..kept.len() - MOST_OUTPUT);
                    self.truncated = true;
                }
            }
        }
    }

    fn answer(mut self, command_id: &str, duration: Option<Duration>) -> CommandAnswer<'_> {
        let ending = self.ending.take();
        let mut text = |bytes: &[u8]| {
            let from = bytes.len().saturating_sub(MOST_OUTPUT);
            self.truncated |= from > 0;
            String::from_utf8_lossy(&bytes[from..]).into_owned()
        };
        let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
        CommandAnswer {
            command_id,
            status: ending.as_ref().map_or(CommandStatus::Running, status_of),
            exit_code: ending.as_ref().and_then(|ending| ending.exit_code),
            signal: ending.as_ref().and_then(|ending| ending.signal).map(signal_name),
            timed_out: ending.as_ref().is_some_and(|ending| ending.timed_out),
            stdout,
            stderr,
            truncated: self.truncated,
            duration: duration.map(|duration| duration.as_secs_f64()),
        }
    }
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
        (status = 400, description = "`invalid_request`", body = ErrorAnswer),
        (status = 403, description = "`forbidden`: the user may not do that", body = ErrorAnswer),
        (status = 404, description = "`not_found`: no such sandbox, user or directory", body = ErrorAnswer),
        (status = 409, description = "`paused`, `inactive`, `wrong_state`, `terminating`", body = ErrorAnswer),
        (status = 410, description = "`gone`", body = ErrorAnswer),
        (status = 413, description = "`too_large`", body = ErrorAnswer),
        (status = 429, description = "`limit_reached`: as many commands run as can", body = ErrorAnswer),
        (status = 501, description = "`no_agent`: nothing can be run in it; the message says why", body = ErrorAnswer),
        (status = 502, description = "`runtime_failed`", body = ErrorAnswer),
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
        send_input(&work, &sandboxes, &id, &begun.id, bytes, ends).await?;
    }
    if background {
        let answer = BegunAnswer { command_id: &begun.id, status: CommandStatus::Running };
        return Ok(json(StatusCode::ACCEPTED, &answer, 128));
    }
    if sse::wanted(&request) {
        let Begun { id: command, events } = begun;
        return Ok(sse::answer(&request, &sandboxes, StatusCode::OK, told(command, events)));
    }
    finished(&sandboxes, begun, began).await
}

async fn send_input(
    work: &Work,
    sandboxes: &Sandboxes,
    id: &crate::domain::SandboxId,
    command: &str,
    bytes: Vec<u8>,
    ends: bool,
) -> Result<(), ApiError> {
    let sent = async {
        if !bytes.is_empty() {
            work.input(id, command, Input::Bytes(bytes)).await?;
        }
        if ends { work.input(id, command, Input::Eof).await } else { Ok(()) }
    };
    match sent.await {
        // It has ended without reading it all.
        Err(error @ WorkError::Refused { .. }) => {
            tracing::debug!(sandbox_id = %id, command, %error, "a command did not take its input");
            Ok(())
        }
        sent => sent.map_err(|error| ApiError::of_work(&error, &sandboxes.now())),
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

/// What a command tells, as events.
fn told(command: String, events: Events) -> impl Stream<Item = Bytes> + 'static {
    let state = (command, Some(events), From::default());
    stream::unfold(state, |(command, events, mut at)| async move {
        let mut events = events?;
        let event = match events.next().await {
            Ok(Some(CommandEvent::Started(pid))) => {
                sse::event(None, "started", &StartedEvent { command_id: &command, pid })
            }
            Ok(Some(CommandEvent::Output(Piece { stream, offset, dropped, bytes }))) => {
                let end = offset + bytes.len() as u64;
                match stream {
                    Output::Stdout => at.stdout = end,
                    Output::Stderr => at.stderr = end,
                }
                let data = OutputEvent { stream, offset, dropped, data: STANDARD.encode(bytes) };
                sse::event(Some(&format!("{}.{}", at.stdout, at.stderr)), "output", &data)
            }
            Ok(Some(CommandEvent::Ended(ending))) => {
                let ended = EndedEvent {
                    status: status_of(&ending),
                    exit_code: ending.exit_code,
                    signal: ending.signal.map(signal_name),
                    timed_out: ending.timed_out,
                };
                return Some((sse::event(None, "exited", &ended), (command, None, at)));
            }
            Ok(None) => return None,
            Err(error) => {
                #[derive(Serialize)]
                struct Failed {
                    message: String,
                }
                return Some((sse::event(None, "error", &Failed { message: error.to_string() }), (command, None, at)));
            }
        };
        Some((event, (command, Some(events), at)))
    })
}

/// The commands of a sandbox: those that run, and the last ones that ended. No use.
#[utoipa::path(get, path = "/v1/sandboxes/{id}/commands", operation_id = "list_commands", tag = "work",
    params(("id" = String, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "The commands", body = CommandsAnswer),
        (status = 404, description = "`not_found`", body = ErrorAnswer),
        (status = 409, description = "`wrong_state`", body = ErrorAnswer),
        (status = 410, description = "`gone`", body = ErrorAnswer),
        (status = 501, description = "`no_agent`", body = ErrorAnswer),
        (status = 502, description = "`runtime_failed`", body = ErrorAnswer),
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
        (status = 409, description = "`paused`, `inactive`, `wrong_state`, `terminating`", body = ErrorAnswer),
        (status = 410, description = "`gone`", body = ErrorAnswer),
        (status = 501, description = "`no_agent`", body = ErrorAnswer),
        (status = 502, description = "`runtime_failed`", body = ErrorAnswer),
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

/// Declares the three calls that send something to a command: they answer 204.
macro_rules! sends {
    ($($(#[$doc:meta])* $name:ident($body:ident: $type:ty) $path:literal $operation:literal => $send:expr;)+) => {$(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, operation_id = $operation, tag = "work",
            params(
                ("id" = String, Path, description = "The sandbox"),
                ("command" = String, Path, description = "The command"),
            ),
            request_body = $type,
            responses(
                (status = 204, description = "It is sent"),
                (status = 400, description = "`invalid_request`", body = ErrorAnswer),
                (status = 404, description = "`not_found`: no such sandbox or command", body = ErrorAnswer),
                (status = 409, description = "`paused`, `inactive`, `wrong_state`, `terminating`, `conflict`: it has ended",
                    body = ErrorAnswer),
                (status = 410, description = "`gone`", body = ErrorAnswer),
                (status = 413, description = "`too_large`", body = ErrorAnswer),
                (status = 429, description = "`limit_reached`", body = ErrorAnswer),
                (status = 501, description = "`no_agent`", body = ErrorAnswer),
                (status = 502, description = "`runtime_failed`", body = ErrorAnswer),
            ))]
        pub(in crate::http) async fn $name(
            work: Data<Work>,
            sandboxes: Data<Sandboxes>,
            Id(id): Id,
            CommandId(command): CommandId,
            Body($body): Body<$type>,
        ) -> Result<HttpResponse, ApiError> {
            let send: Result<(), Sending> = async { $send(&work, &id, &command, $body).await }.await;
            match send {
                Ok(()) => Ok(HttpResponse::NoContent().finish()),
                Err(Sending::Api(error)) => Err(error),
                Err(Sending::Work(error)) => Err(ApiError::of_work(&error, &sandboxes.now())),
            }
        }
    )+};
}

enum Sending {
    Api(ApiError),
    Work(WorkError),
}

impl std::convert::From<WorkError> for Sending {
    fn from(error: WorkError) -> Self {
        Self::Work(error)
    }
}

sends! {
    /// Sends input to a command: to its terminal if it has one, else to its standard input. Counts as use.
    input(body: InputRequest) "/v1/sandboxes/{id}/commands/{command}/input" "send_input" => give_input;
    /// Sends a signal to a command and all processes of its group. Counts as use.
    signal(body: SignalRequest) "/v1/sandboxes/{id}/commands/{command}/signal" "send_signal" => give_signal;
    /// Resizes the terminal of a command. Counts as use.
    resize(body: TtySize) "/v1/sandboxes/{id}/commands/{command}/resize" "resize_terminal" => give_size;
}

async fn give_input(
    work: &Work,
    id: &crate::domain::SandboxId,
    command: &str,
    input: InputRequest,
) -> Result<(), Sending> {
    let bytes = match (input.text, input.base64) {
        (Some(_), Some(_)) => return Err(Sending::Api(ApiError::field("base64", "either this or text, not both"))),
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => STANDARD.decode(text).map_err(|error| Sending::Api(ApiError::field("base64", error)))?,
        (None, None) if input.eof => Vec::new(),
        (None, None) => return Err(Sending::Api(ApiError::field("text", "missing; give text, base64 or eof"))),
    };
    if !bytes.is_empty() {
        work.input(id, command, Input::Bytes(bytes)).await?;
    }
    if input.eof {
        work.input(id, command, Input::Eof).await?;
    }
    Ok(())
}

async fn give_signal(
    work: &Work,
    id: &crate::domain::SandboxId,
    command: &str,
    request: SignalRequest,
) -> Result<(), Sending> {
    let bare = request.signal.strip_prefix("SIG").unwrap_or(&request.signal);
    if format!("SIG{bare}").parse::<Signal>().is_err() {
        let rule = format!("{:?} is no signal; expected one such as SIGINT", request.signal);
        return Err(Sending::Api(ApiError::field("signal", rule)));
    }
    Ok(work.signal(id, command, bare).await?)
}

async fn give_size(work: &Work, id: &crate::domain::SandboxId, command: &str, size: TtySize) -> Result<(), Sending> {
    Ok(work.resize(id, command, size.tty()).await?)
}
