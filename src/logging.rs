//! Logs: to the standard error stream, filtered by level, as text for people or as JSON for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, util::TryInitError};

use crate::config::{LogFormat, LogSettings, rules::LEVEL_RULE};

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level breaks [`LEVEL_RULE`].
    #[error("failed to set up the logs: the level must be {LEVEL_RULE}: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// They are set up already; the first setup stays.
    #[error("failed to set up the logs: {0}")]
    AlreadySet(#[from] TryInitError),
}

/// Sends the logs of this process to the standard error stream.
///
/// # Errors
/// [`LoggingError`]; the process can go on without, or with those that were set up before.
pub fn init(settings: &LogSettings) -> Result<(), LoggingError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(directives(&settings.level))?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match settings.format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

/// A level alone is about Sandglass; of the libraries below it, only what they warn of is of interest to its operator.
fn directives(level: &str) -> String {
    let alone = level.bytes().all(|byte| byte.is_ascii_alphabetic());
    if alone && !level.eq_ignore_ascii_case("off") { format!("warn,sandglass={level}") } else { level.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_setup_is_an_error_and_not_a_panic() {
        let settings = LogSettings { level: "info".into(), format: LogFormat::Json };
        let _ = init(&settings);
        assert!(matches!(init(&settings), Err(LoggingError::AlreadySet(_))));
        assert!(matches!(init(&LogSettings { level: "a=b=c".into(), ..settings }), Err(LoggingError::Level(_))));
    }
}
