//! What the container of a sandbox has written, line by line.

use std::collections::VecDeque;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use futures_util::StreamExt;
use serde::Serialize;

use super::answers::rfc3339;
use crate::{
    domain::{EpochSeconds, Sandbox, SandboxId},
    http::{
        e2b::{error::Refusal, extract::Id, query::Query},
        json::json,
    },
    ports::inside::{Output, OutputQuery, OutputStream},
    sandboxes::{RequestError, Sandboxes},
    work::{Work, WorkError},
};

/// How many lines an answer has at most, and by default.
const MOST: usize = 1000;

/// The lines by the first version of the call: plain, and with all that is known of them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Logs<'a> {
    logs: Vec<PlainLine<'a>>,
    log_entries: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct PlainLine<'a> {
    timestamp: String,
    line: &'a str,
}

/// The lines by the second version.
#[derive(Serialize)]
struct Entries<'a> {
    logs: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    timestamp: String,
    level: &'static str,
    message: &'a str,
    fields: Fields,
}

#[derive(Serialize)]
struct Fields {
    stream: &'static str,
}

/// A line, or a part of a long one.
struct Line {
    at: EpochSeconds,
    stream: OutputStream,
    text: String,
}

impl Line {
    fn entry(&self) -> Entry<'_> {
        let (level, stream) = match self.stream {
            OutputStream::Stdout => ("info", "stdout"),
            OutputStream::Stderr => ("error", "stderr"),
        };
        Entry { timestamp: rfc3339(self.at), level, message: &self.text, fields: Fields { stream } }
    }
}

/// Which lines are wanted: the first ones from a time on, or the last ones before it.
#[derive(Clone, Copy)]
enum Wanted {
    From(Option<EpochSeconds>),
    UpTo(Option<EpochSeconds>),
}

/// The first lines from `start` on, in milliseconds since the epoch.
pub(super) async fn logs_v1(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let query = Query::of(&request)?;
    let wanted = Wanted::From(time(&query, "start")?);
    let lines = lines(&work, &sandboxes, &id, wanted, limit(&query)?).await?;
    let logs = lines.iter().map(|line| PlainLine { timestamp: rfc3339(line.at), line: &line.text }).collect();
    let answer = Logs { logs, log_entries: lines.iter().map(Line::entry).collect() };
    Ok(json(StatusCode::OK, &answer, 256 * (lines.len() + 1)))
}

/// The lines from `cursor` on; with `direction=backward`, those before it, the newest first.
pub(super) async fn logs_v2(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let query = Query::of(&request)?;
    let cursor = time(&query, "cursor")?;
    let backward = query.word("direction", ["forward", "backward"])? == "backward";
    let wanted = if backward { Wanted::UpTo(cursor) } else { Wanted::From(cursor) };
    let mut lines = lines(&work, &sandboxes, &id, wanted, limit(&query)?).await?;
    if backward {
        lines.make_contiguous().reverse();
    }
    let answer = Entries { logs: lines.iter().map(Line::entry).collect() };
    Ok(json(StatusCode::OK, &answer, 256 * (lines.len() + 1)))
}

fn limit(query: &Query) -> Result<usize, Refusal> {
    let limit = query.number("limit")?.unwrap_or(MOST);
    if limit > MOST {
        return Err(Refusal::field("limit", format!("must be at most {MOST}, not {limit}")));
    }
    Ok(limit)
}

/// Reads a time in milliseconds since the epoch.
fn time(query: &Query, name: &str) -> Result<Option<EpochSeconds>, Refusal> {
    Ok(query.number::<u64>(name)?.map(|milliseconds| milliseconds as f64 / 1000.0))
}

async fn lines(
    work: &Work,
    sandboxes: &Sandboxes,
    id: &SandboxId,
    wanted: Wanted,
    limit: usize,
) -> Result<VecDeque<Line>, Refusal> {
    let mut lines = VecDeque::new();
    let (since, tail) = match wanted {
        // An engine takes no time beyond this.
        Wanted::From(since) => (since.map(|since| since.min(f64::from(i32::MAX))), None),
        Wanted::UpTo(None) => (None, u32::try_from(limit).ok()),
        Wanted::UpTo(Some(_)) => (None, None),
    };
    let failed = |error: WorkError| Refusal::of_work(&error, &sandboxes.now());
    let mut output = match work.output(id, OutputQuery { tail, since, follow: false }).await {
        Ok(output) => output,
        Err(WorkError::Request(RequestError::Gone(sandbox))) => {
            add(&mut lines, &last_output(&sandbox, sandboxes), wanted, limit);
            return Ok(lines);
        }
        Err(error) => return Err(failed(error)),
    };
    while let Some(part) = output.next().await {
        let Output { at, stream, bytes } = part.map_err(|error| failed(error.into()))?;
        let at = at.unwrap_or_else(|| sandboxes.now().wall());
        let written = Line { at, stream, text: String::from_utf8_lossy(&bytes).into_owned() };
        if !add(&mut lines, &written, wanted, limit) {
            break;
        }
    }
    Ok(lines)
}

/// Adds what was written at once, and returns whether more is wanted.
fn add(lines: &mut VecDeque<Line>, written: &Line, wanted: Wanted, limit: usize) -> bool {
    match wanted {
        Wanted::From(Some(since)) if written.at < since => return true,
        Wanted::UpTo(Some(until)) if written.at > until => return false,
        _ => {}
    }
    for text in written.text.lines() {
        if lines.len() == limit {
            match wanted {
                Wanted::From(_) => return false,
                Wanted::UpTo(_) => _ = lines.pop_front(),
            }
        }
        if lines.len() < limit {
            lines.push_back(Line { at: written.at, stream: written.stream, text: text.to_owned() });
        }
    }
    true
}

/// The end of what a sandbox that ended by itself has written.
fn last_output(sandbox: &Sandbox, sandboxes: &Sandboxes) -> Line {
    let now = sandboxes.now();
    let at = sandbox.end().map_or(now.wall(), |end| now.wall_at(end.decided_at));
    let text = sandbox.details.last_output.as_deref().unwrap_or_default().to_owned();
    Line { at, stream: OutputStream::Stdout, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(wanted: Wanted, limit: usize) -> String {
        let mut lines = VecDeque::new();
        for (at, text) in [(1.0, "a\n"), (2.0, "b\nc\n"), (3.0, "d")] {
            let written = Line { at, stream: OutputStream::Stdout, text: text.to_owned() };
            if !add(&mut lines, &written, wanted, limit) {
                break;
            }
        }
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn the_first_lines_from_a_time_on_or_the_last_ones_up_to_it() {
        for (wanted, limit, expected) in [
            (Wanted::From(None), 9, "abcd"),
            (Wanted::From(None), 2, "ab"),
            (Wanted::From(Some(2.0)), 2, "bc"),
            (Wanted::From(Some(4.0)), 2, ""),
            (Wanted::UpTo(None), 3, "bcd"),
            (Wanted::UpTo(Some(2.0)), 2, "bc"),
            (Wanted::UpTo(Some(0.5)), 2, ""),
            (Wanted::From(None), 0, ""),
            (Wanted::UpTo(None), 0, ""),
        ] {
            assert_eq!(texts(wanted, limit), expected, "{limit}");
        }
    }
}
