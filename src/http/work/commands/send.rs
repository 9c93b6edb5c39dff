//! Sends input, signals and sizes to commands.

use actix_web::{HttpResponse, web::Data};
use base64::{Engine, engine::general_purpose::STANDARD};
use nix::sys::signal::Signal;

use super::requests::{InputRequest, SignalRequest, TtySize};
use crate::{
    domain::SandboxId,
    http::{
        body::Body,
        error::{ApiError, ErrorAnswer},
        extract::{CommandId, Id},
    },
    sandboxes::Sandboxes,
    work::{Input, Work, WorkError},
};

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
                (status = 404, description = "`not_found`: no such sandbox or command", body = ErrorAnswer),
                (status = 409, description = "`paused`, `inactive`, `wrong_state`, `terminating`, `conflict`: it has ended",
                    body = ErrorAnswer),
                (status = 429, description = "`limit_reached`", body = ErrorAnswer),
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

impl From<WorkError> for Sending {
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

async fn give_input(work: &Work, id: &SandboxId, command: &str, input: InputRequest) -> Result<(), Sending> {
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

async fn give_signal(work: &Work, id: &SandboxId, command: &str, request: SignalRequest) -> Result<(), Sending> {
    let bare = request.signal.strip_prefix("SIG").unwrap_or(&request.signal);
    if format!("SIG{bare}").parse::<Signal>().is_err() {
        let rule = format!("{:?} is no signal; expected one such as SIGINT", request.signal);
        return Err(Sending::Api(ApiError::field("signal", rule)));
    }
    Ok(work.signal(id, command, bare).await?)
}

async fn give_size(work: &Work, id: &SandboxId, command: &str, size: TtySize) -> Result<(), Sending> {
    Ok(work.resize(id, command, size.tty()).await?)
}
