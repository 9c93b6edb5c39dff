//! What the container of a sandbox has written.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Bytes, Data},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::sse;
use crate::{
    domain::EpochSeconds,
    http::{
        error::{ApiError, ErrorAnswer},
        extract::Id,
        query::logs_query,
    },
    ports::inside::{InsideError, Output, OutputStream},
    sandboxes::{RequestError, Sandboxes},
    work::{Work, WorkError},
};

/// A part of a log, as an event.
#[derive(Serialize)]
struct LogEvent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<EpochSeconds>,
    stream: &'a str,
    /// The bytes as base64.
    data: String,
}

/// What the container's own process has written.
///
/// As text, standard output and standard error in their order; with `Accept: text/event-stream` as events `output` with their
/// time and stream, and an event `error` before they break off. Of a sandbox that ended by itself, its last lines. No use.
#[utoipa::path(get, path = "/v1/sandboxes/{id}/logs", operation_id = "logs", tag = "work",
    params(
        ("id" = String, Path, description = "The sandbox"),
        ("tail" = Option<i64>, Query, minimum = 0, maximum = 4294967295_i64, description = "Only that many lines from the end"),
        ("since" = Option<f64>, Query, minimum = 0, maximum = 2147483647, description = "Only what was written from then on, in epoch seconds"),
        ("follow" = Option<bool>, Query, description = "`true`: go on with what is written, until the container ends"),
    ),
    responses(
        (status = 200, description = "The log", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 409, description = "`wrong_state`: it has no container yet", body = ErrorAnswer),
        (status = 501, description = "`no_agent`: this engine keeps none", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn logs(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = logs_query(&request)?;
    let tail = query.tail.map_or(usize::MAX, |lines| usize::try_from(lines).unwrap_or(usize::MAX));
    let output = match work.output(&id, query).await {
        Ok(output) => output,
        Err(WorkError::Request(RequestError::Gone(sandbox))) => {
            let last = last_lines(sandbox.details.last_output.as_deref().unwrap_or_default(), tail);
            let part = Output { at: None, stream: OutputStream::Stdout, bytes: last.into_bytes() };
            stream::iter((!part.bytes.is_empty()).then_some(Ok(part))).boxed()
        }
        Err(error) => return Err(ApiError::of_work(&error, &sandboxes.now())),
    };
    let failed = |error: InsideError| ApiError::of_work(&error.into(), &sandboxes.now());
    let parts = sse::begun(output).await.map_err(failed)?;
    if sse::wanted(&request) {
        let events = parts.map(|part| match part {
            Ok(Output { at, stream, bytes }) => {
                let stream = stream.to_string();
                sse::event(None, "output", &LogEvent { at, stream: &stream, data: STANDARD.encode(bytes) })
            }
            Err(error) => sse::error(&error),
        });
        return Ok(sse::answer(&request, &sandboxes, StatusCode::OK, events));
    }
    let text = parts.map(|part| part.map(|part| Bytes::from(part.bytes)));
    Ok(sse::streamed(&request, &sandboxes, StatusCode::OK, "text/plain; charset=utf-8", text))
}

/// The last `most` lines of a kept output, each with its end.
fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(most)..].iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_output_is_told_by_whole_lines_and_only_as_many_as_were_asked_for() {
        assert_eq!(last_lines("a\nb", usize::MAX), "a\nb\n");
        assert_eq!(last_lines("a\nb\n", 1), "b\n");
        assert_eq!(last_lines("a", 0), "");
        assert_eq!(last_lines("", usize::MAX), "");
    }
}
