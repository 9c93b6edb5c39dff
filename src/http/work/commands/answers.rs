//! What clients are told of commands.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::EpochSeconds,
    work::{CommandEvent, Ending, Piece, Stream},
};

/// How much of each stream an answer has: the end of it.
const MOST_OUTPUT: usize = 1 << 20;

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CommandStatus {
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
    pub(super) command_id: &'a str,
    /// How far it is.
    pub(super) status: CommandStatus,
    /// Its exit code; 126: it could not be executed, 127: there is no such program; null: it runs, a signal ended it, or
    /// nobody knows.
    pub(super) exit_code: Option<i32>,
    /// The signal that ended it, such as `SIGKILL`.
    pub(super) signal: Option<&'static str>,
    /// Whether its timeout ended it.
    pub(super) timed_out: bool,
    /// The end of its standard output, at most 1 MiB, as text; with a terminal, all that it shows.
    pub(super) stdout: String,
    /// The end of its standard error, at most 1 MiB, as text.
    pub(super) stderr: String,
    /// Whether there was more output than that.
    pub(super) truncated: bool,
    /// Seconds from its begin to its end, or until now.
    pub(super) duration: Option<f64>,
}

/// A command as it is listed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListedCommand<'a> {
    /// Its name for further calls.
    pub(super) command_id: &'a str,
    /// The program and its arguments.
    pub(super) command: &'a [String],
    /// Its number inside the sandbox.
    pub(super) pid: u32,
    /// How far it is.
    pub(super) status: CommandStatus,
    /// Its exit code; null: it runs, or a signal ended it.
    pub(super) exit_code: Option<i32>,
    /// The signal that ended it.
    pub(super) signal: Option<&'static str>,
    /// Whether its timeout ended it.
    pub(super) timed_out: bool,
    /// When it began.
    pub(super) started_at: Option<EpochSeconds>,
    /// When it ended.
    pub(super) ended_at: Option<EpochSeconds>,
}

/// The commands of a sandbox.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CommandsAnswer<'a> {
    /// Those that run, and the last ones that ended.
    pub(super) commands: Vec<ListedCommand<'a>>,
}

/// A command that was begun in the background.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct BegunAnswer<'a> {
    /// Its name for further calls.
    pub(super) command_id: &'a str,
    /// How far it is.
    pub(super) status: CommandStatus,
}

/// The name of a signal.
pub(super) fn signal_name(number: i32) -> &'static str {
    Signal::try_from(number).map_or("unknown", Signal::as_str)
}

pub(super) fn status_of(ending: &Ending) -> CommandStatus {
    if ending.lost { CommandStatus::Lost } else { CommandStatus::Exited }
}

/// Collects what a command tells.
pub(super) struct Collected {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) truncated: bool,
    pub(super) ending: Option<Ending>,
}

impl Collected {
    pub(super) fn new() -> Self {
        Self { stdout: Vec::new(), stderr: Vec::new(), truncated: false, ending: None }
    }

    pub(super) fn take(&mut self, event: CommandEvent) {
        match event {
            CommandEvent::Started(_) => {}
            CommandEvent::Ended(ending) => self.ending = Some(ending),
            CommandEvent::Output(Piece { stream, dropped, bytes, .. }) => {
                let kept = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
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

    pub(super) fn answer(mut self, command_id: &str, duration: Option<Duration>) -> CommandAnswer<'_> {
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
