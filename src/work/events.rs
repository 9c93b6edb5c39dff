//! What a command tells: what it writes, and how it ends. A connection that breaks is opened again, and the output is read on
//! from where it was, so that nothing that is kept is missed or told twice.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Work, connect::Frames, error::WorkError, follow::Holding};
use crate::domain::SandboxId;

/// How long to wait before a broken connection is opened again.
const AGAIN: Duration = Duration::from_millis(200);
/// How often that is tried without a word from the agent in between.
const TRIES: u32 = 30;

/// A stream that a command writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output; with a terminal, all that the terminal shows.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Positions in both streams of a command, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct From {
    /// In standard output, or the terminal.
    pub stdout: u64,
    /// In standard error.
    pub stderr: u64,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it was written.
    pub stream: Stream,
    /// The position of its first byte.
    pub offset: u64,
    /// How many bytes before it are no longer kept, and were not told.
    pub dropped: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ending {
    /// Its exit code; `None`: a signal ended it, or nobody knows.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Whether its timeout ended it.
    pub timed_out: bool,
    /// Whether nobody knows how it ended: its sandbox or its agent ended under it.
    pub lost: bool,
}

/// What a command tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEvent {
    /// It runs, under this number inside.
    Started(u32),
    /// It has written something.
    Output(Piece),
    /// It has ended. Nothing follows.
    Ended(Ending),
}

/// What a command tells, as it comes.
pub struct Events {
    work: Work,
    sandbox: SandboxId,
    command: Box<str>,
    frames: Option<Frames>,
    from: From,
    /// What was told when the command was begun.
    first: Option<CommandEvent>,
    /// Whether an agent has told anything of it.
    known: bool,
    ended: bool,
    /// Releases the hold of a command that was begun here, once its end is known.
    holding: Option<Holding>,
}

#[derive(Deserialize)]
struct Envelope {
    event: Told,
}

/// A message of `Start` and `Connect`: one of these, or nothing that matters here.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    start: Option<Pid>,
    data: Option<Data>,
    end: Option<End>,
}

#[derive(Deserialize)]
struct Pid {
    pid: u32,
}

#[derive(Deserialize)]
struct Data {
    stdout: Option<String>,
    stderr: Option<String>,
    pty: Option<String>,
    offset: Option<String>,
}

/// How a process ended, as the agent tells it.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct End {
    exit_code: i32,
    exited: bool,
    signal: Option<i32>,
    timed_out: bool,
}

impl End {
    pub(super) fn ending(&self) -> Ending {
        Ending {
            exit_code: self.exited.then_some(self.exit_code),
            signal: self.signal,
            timed_out: self.timed_out,
            lost: false,
        }
    }
}

impl Events {
    /// The events of a command from `from` on; `frames` tells them, unless the connection breaks.
    pub(super) fn new(work: Work, sandbox: SandboxId, command: Box<str>, frames: Frames, from: From) -> Self {
        let frames = Some(frames);
        Self { work, sandbox, command, frames, from, first: None, known: false, ended: false, holding: None }
    }

    /// The events of a command that was begun just now.
    pub(super) async fn begun(mut self) -> Result<Self, WorkError> {
        self.first = self.step().await?;
        Ok(self)
    }

    /// Releases what holds the sandbox once the end is known.
    pub(super) fn holding(self, holding: Option<Holding>) -> Self {
        Self { holding, ..self }
    }

    /// The next event; `None` after the end. Can be dropped and called again.
    ///
    /// # Errors
    /// When the command is unknown, or its sandbox cannot be reached for long.
    pub async fn next(&mut self) -> Result<Option<CommandEvent>, WorkError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let mut failures = 0;
        while !self.ended {
            match self.step().await {
                Ok(Some(event)) => {
                    if let CommandEvent::Ended(_) = event {
                        self.end().await;
                    }
                    return Ok(Some(event));
                }
                Ok(None) => {}
                // It was known to the agent before this one.
                Err(error) if self.known && error.is_code("not_found") => {
                    self.end().await;
                    return Ok(Some(CommandEvent::Ended(Ending { lost: true, ..Ending::default() })));
                }
                Err(error) if error.is_code("not_found") || error.is_code("invalid_argument") => return Err(error),
                Err(_) if self.work.is_over(&self.sandbox).await => {
                    self.ended = true;
                    return Ok(Some(CommandEvent::Ended(Ending { lost: true, ..Ending::default() })));
                }
                Err(error) if failures >= TRIES => return Err(error),
                Err(_) => {
                    self.frames = None;
                    failures += 1;
                    tokio::time::sleep(AGAIN * failures).await;
                }
            }
        }
        Ok(None)
    }

    async fn end(&mut self) {
        self.ended = true;
        if let Some(holding) = self.holding.take() {
            holding.release().await;
        }
    }

    async fn step(&mut self) -> Result<Option<CommandEvent>, WorkError> {
        let frames = match &mut self.frames {
            Some(frames) => frames,
            none => none.insert(self.work.connect(&self.sandbox, &self.command, Some(self.from)).await?),
        };
        let Some(Envelope { event }) = frames.next().await? else {
            // A stream without an end of the process is one that broke.
            return Err(WorkError::Broken(self.sandbox.clone(), "it ended too soon".to_owned()));
        };
        // Each connection begins with it.
        let told = std::mem::replace(&mut self.known, true);
        Ok(match event {
            Told { start: Some(Pid { pid }), .. } => (!told).then_some(CommandEvent::Started(pid)),
            Told { data: Some(data), .. } => self.piece(data).map(CommandEvent::Output),
            Told { end: Some(end), .. } => Some(CommandEvent::Ended(end.ending())),
            Told { .. } => None,
        })
    }

    fn piece(&mut self, data: Data) -> Option<Piece> {
        let (stream, text) = match data {
            Data { stderr: Some(text), .. } => (Stream::Stderr, text),
            Data { stdout: Some(text), .. } | Data { pty: Some(text), .. } => (Stream::Stdout, text),
            _ => return None,
        };
        let bytes = Bytes::from(STANDARD.decode(text).ok()?);
        let at = match stream {
            Stream::Stdout => &mut self.from.stdout,
            Stream::Stderr => &mut self.from.stderr,
        };
        let offset = data.offset.and_then(|offset| offset.parse().ok()).unwrap_or(*at);
        let dropped = offset.saturating_sub(*at);
        *at = offset + bytes.len() as u64;
        Some(Piece { stream, offset, dropped, bytes })
    }
}
