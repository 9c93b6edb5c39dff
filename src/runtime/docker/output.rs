//! Reads what a container has written, as far as the engine keeps it.

use std::time::{Duration, UNIX_EPOCH};

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use futures_util::{StreamExt, future::ready, stream::BoxStream};

use super::Docker;
use crate::{
    domain::EpochSeconds,
    ports::inside::{InsideError, Output, OutputQuery, OutputStream},
};

impl Docker {
    pub(super) fn kept_output(
        &self,
        id: String,
        query: OutputQuery,
    ) -> BoxStream<'static, Result<Output, InsideError>> {
        let tail = query.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let since = query.since.unwrap_or_default();
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .follow(query.follow)
            .tail(&tail)
            // The library knows whole seconds only.
            .since(since as i32)
            .build();
        let parts = self.engine.clone().stream(move |client| client.logs(&id, Some(options)));
        let parts = parts.map(|part| part.map(output_of).map_err(|error| error.inside("read the container's output")));
        parts
            .filter(move |part| {
                let early = part.as_ref().is_ok_and(|part| part.at.is_some_and(|at| at < since));
                ready(!early)
            })
            .boxed()
    }
}

/// Takes the engine's timestamp off a part of the output.
fn output_of(part: LogOutput) -> Output {
    let stream = match part {
        LogOutput::StdErr { .. } => OutputStream::Stderr,
        _ => OutputStream::Stdout,
    };
    let bytes = part.into_bytes();
    let split = bytes.iter().position(|byte| *byte == b' ').and_then(|end| Some((end, moment(&bytes[..end])?)));
    match split {
        Some((end, at)) => Output { at: Some(at), stream, bytes: bytes[end + 1..].to_vec() },
        None => Output { at: None, stream, bytes: bytes.to_vec() },
    }
}

/// Reads a time of RFC 3339 in UTC.
pub(super) fn moment(text: &[u8]) -> Option<EpochSeconds> {
    let time = humantime::parse_rfc3339(std::str::from_utf8(text).ok()?).ok()?;
    time.duration_since(UNIX_EPOCH).as_ref().map(Duration::as_secs_f64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_taken_off_and_nothing_else() {
        let part = |text: &'static str| output_of(LogOutput::StdErr { message: text.into() });
        let told = part("2026-11-26T02:00:00.250000000Z two words\n");
        assert_eq!(told.at, Some(1_795_658_400.25));
        assert_eq!((told.stream, told.bytes.as_slice()), (OutputStream::Stderr, b"two words\n".as_slice()));
        assert_eq!(part("no time\n"), Output { at: None, stream: OutputStream::Stderr, bytes: b"no time\n".to_vec() });
    }
}
