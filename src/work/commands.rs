//! Begins commands, lists them, and sends them input and signals.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Work,
    connect::Frames,
    error::WorkError,
    events::{End, Ending, Events, From},
    follow::Holding,
};
use crate::{
    domain::{
        ActivitySource, EpochSeconds, SandboxId, Status,
        sandbox::{self, HoldRequest},
    },
    random,
    sandboxes::RequestError,
};

/// How long a reason of a hold may be, in characters.
const MOST_REASON: usize = 256;

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A program with its arguments.
    Argv(Vec<String>),
    /// A line for the image's shell: bash where it has one, else sh.
    Shell(String),
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tty {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// A command to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What runs.
    pub program: Program,
    /// Environment variables, beside and over those of the container.
    pub env: BTreeMap<String, String>,
    /// Where; `None`: the container's own working directory.
    pub cwd: Option<String>,
    /// As whom: a name or `UID[:GID]`; `None`: as the image says.
    pub user: Option<String>,
    /// After how long it is ended; `None`: never.
    pub timeout: Option<Duration>,
    /// Whether its standard input stays open for [`Work::input`].
    pub stdin: bool,
    /// The terminal that it runs in; `None`: none.
    pub tty: Option<Tty>,
}

/// A command that runs.
pub struct Begun {
    /// Its name for all further calls.
    pub id: String,
    /// What it tells. Dropping this leaves it running.
    pub events: Events,
}

/// A command as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandInfo {
    /// Its name.
    pub id: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its number inside.
    pub pid: u32,
    /// When it began.
    pub started_at: Option<EpochSeconds>,
    /// When it ended, and how; `None`: it runs.
    pub end: Option<(Option<EpochSeconds>, Ending)>,
}

/// What is sent to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes for its terminal, or for its standard input if it has none.
    Bytes(Vec<u8>),
    /// The end of its standard input.
    Eof,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    processes: Vec<Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    #[serde(default)]
    config: Config,
    #[serde(default)]
    pid: u32,
    tag: Option<String>,
    started_at: Option<EpochSeconds>,
    ended_at: Option<EpochSeconds>,
    end: Option<End>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Config {
    cmd: String,
    args: Vec<String>,
}

impl Command {
    fn argv(&self) -> Result<(String, Vec<String>), RequestError> {
        match &self.program {
            Program::Argv(argv) => match argv.split_first() {
                Some((program, arguments)) if !program.is_empty() => Ok((program.clone(), arguments.to_vec())),
                _ => Err(RequestError::invalid("command", "at least the program's name")),
            },
            // The agent takes sh where there is no bash.
            Program::Shell(line) => Ok(("/bin/bash".to_owned(), vec!["-l".to_owned(), "-c".to_owned(), line.clone()])),
        }
    }

    /// What people are told that holds the sandbox.
    fn reason(&self) -> Box<str> {
        let text = match &self.program {
            Program::Argv(argv) => argv.join(" "),
            Program::Shell(line) => line.clone(),
        };
        text.chars().take(MOST_REASON).collect::<String>().into()
    }

    fn message(&self, id: &str) -> Result<Value, RequestError> {
        let (cmd, args) = self.argv()?;
        let mut message = json!({
            "process": {"cmd": cmd, "args": args, "envs": self.env, "cwd": self.cwd},
            "tag": id,
            "stdin": self.stdin,
            "containerCwd": true,
        });
        if let Some(tty) = self.tty {
            message["pty"] = json!({"size": tty});
        }
        if let Some(timeout) = self.timeout {
            message["timeoutMs"] = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).into();
        }
        Ok(message)
    }
}

impl Work {
    /// Begins a command. It holds its sandbox from before it runs until its end is known.
    ///
    /// # Errors
    /// [`WorkError`], also when the program cannot be run; then nothing holds the sandbox.
    pub async fn begin(&self, sandbox: &SandboxId, command: &Command) -> Result<Begun, WorkError> {
        let (work, id, command) = (self.clone(), sandbox.clone(), command.clone());
        // A client that hangs up in the middle must leave no hold that nobody knows, nor a command that nobody waits for.
        let begun = self.spawn(async move { work.begin_now(&id, &command).await }).await;
        begun.unwrap_or_else(|broken| match broken.is_cancelled() {
            // As all tasks are at the end.
            true => Err(RequestError::Stopping.into()),
            false => Err(WorkError::Broken(sandbox.clone(), broken.to_string())),
        })
    }

    async fn begin_now(&self, sandbox: &SandboxId, command: &Command) -> Result<Begun, WorkError> {
        let id = format!("c{}", random::letters(20));
        let message = command.message(&id)?;
        let lifecycle = &self.sandboxes().settings().lifecycle;
        let hold =
            lifecycle.commands_hold.then(|| HoldRequest::of_command(&id, lifecycle.longest_hold, command.reason()));
        let work = sandbox::Work { source: ActivitySource::Command, hold };
        let holding = work.hold.is_some().then(|| Holding::new(self.clone(), sandbox.clone(), id.as_str().into()));
        let entered = self.sandboxes().work(sandbox, &work).await?;
        let started = async {
            let mut line = self.line(&entered).await?;
            let frames = line.stream("/process.Process/Start", &message, command.user.as_deref()).await?;
            Events::new(self.clone(), sandbox.clone(), id.as_str().into(), frames, From::default()).begun().await
        };
        match started.await {
            Ok(events) => Ok(Begun { events: events.holding(holding), id }),
            Err(error) => {
                match holding {
                    // It may run all the same.
                    Some(holding) if matches!(error, WorkError::Broken(..)) => drop(holding),
                    Some(holding) => holding.release().await,
                    None => {}
                }
                Err(self.explained(sandbox, error).await)
            }
        }
    }

    /// What a command has told from `from` on, and tells. Counts as use.
    ///
    /// # Errors
    /// [`WorkError`]. A command that the agent does not know is an error of the first [`Events::next`].
    pub async fn read(&self, sandbox: &SandboxId, command: &str, from: From) -> Result<Events, WorkError> {
        drop(self.enter_for(sandbox, ActivitySource::Command).await?);
        let frames = self.connect(sandbox, command, Some(from)).await?;
        Ok(Events::new(self.clone(), sandbox.clone(), command.into(), frames, from))
    }

    /// The commands of a sandbox that the agent knows: those that run, and the last that ended. A read, so no use.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn commands(&self, sandbox: &SandboxId) -> Result<Vec<CommandInfo>, WorkError> {
        let found = self.sandboxes().get(sandbox).await?;
        if found.status() == Status::Paused {
            // A frozen agent would not answer.
            return Err(RequestError::Paused(sandbox.clone()).into());
        }
        let mut line = self.look_inside(sandbox).await?;
        let listed: Listed = line.call("/process.Process/List", &json!({"ended": true}), None).await?;
        let info = |process: Process| {
            let Config { cmd, args } = process.config;
            Some(CommandInfo {
                id: process.tag?,
                argv: std::iter::once(cmd).chain(args).collect(),
                pid: process.pid,
                started_at: process.started_at,
                end: process.end.map(|end| (process.ended_at, end.ending())),
            })
        };
        Ok(listed.processes.into_iter().filter_map(info).collect())
    }

    /// Feeds a command that was begun just now, and then ends its standard input if `ends`. Does not wait for it to read.
    pub fn feed(&self, sandbox: &SandboxId, command: &str, bytes: Vec<u8>, ends: bool) {
        let (work, sandbox, command) = (self.clone(), sandbox.clone(), command.to_owned());
        drop(self.spawn(async move {
            let process = json!({"tag": command});
            let input = json!({"process": process, "input": {"any": STANDARD.encode(&bytes)}});
            let fed = async {
                let mut line = work.always_look_inside(&sandbox).await?;
                if !bytes.is_empty() {
                    // One that has ended without reading it all is no trouble.
                    let _ = line.call::<serde::de::IgnoredAny>("/process.Process/SendInput", &input, None).await;
                }
                if ends {
                    let end = json!({"process": process});
                    line.call::<serde::de::IgnoredAny>("/process.Process/CloseStdin", &end, None).await?;
                }
                Ok::<_, WorkError>(())
            };
            if let Err(error) = fed.await {
                tracing::debug!(%sandbox, command, %error, "a command did not take its input");
            }
        }));
    }

    /// Sends input to a command. Counts as use.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn input(&self, sandbox: &SandboxId, command: &str, input: Input) -> Result<(), WorkError> {
        let process = json!({"tag": command});
        let (path, message) = match input {
            Input::Bytes(bytes) => {
                ("/process.Process/SendInput", json!({"process": process, "input": {"any": STANDARD.encode(bytes)}}))
            }
            Input::Eof => ("/process.Process/CloseStdin", json!({"process": process})),
        };
        self.act(sandbox, path, &message).await
    }

    /// Sends a signal to the process group of a command: `SIGTERM` or `TERM`. Counts as use.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn signal(&self, sandbox: &SandboxId, command: &str, signal: &str) -> Result<(), WorkError> {
        let name = signal.strip_prefix("SIG").unwrap_or(signal).to_ascii_uppercase();
        let message = json!({"process": {"tag": command}, "signal": format!("SIGNAL_SIG{name}")});
        self.act(sandbox, "/process.Process/SendSignal", &message).await
    }

    /// Resizes the terminal of a command. Counts as use.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn resize(&self, sandbox: &SandboxId, command: &str, tty: Tty) -> Result<(), WorkError> {
        let message = json!({"process": {"tag": command}, "pty": {"size": tty}});
        self.act(sandbox, "/process.Process/Update", &message).await
    }

    async fn act(&self, sandbox: &SandboxId, path: &str, message: &Value) -> Result<(), WorkError> {
        let mut line = self.enter_for(sandbox, ActivitySource::Command).await?;
        line.call::<serde::de::IgnoredAny>(path, message, None).await.map(drop)
    }

    /// Connects to a command: from positions in its output, or to its end alone.
    pub(super) async fn connect(
        &self,
        sandbox: &SandboxId,
        command: &str,
        from: Option<From>,
    ) -> Result<Frames, WorkError> {
        let mut message = json!({"process": {"tag": command}});
        let mut line = match from {
            Some(From { stdout, stderr }) => {
                let (stdout, stderr) = (stdout.to_string(), stderr.to_string());
                message["from"] = json!({"stdout": stdout, "pty": stdout, "stderr": stderr});
                self.look_inside(sandbox).await?
            }
            None => {
                message["endOnly"] = true.into();
                self.always_look_inside(sandbox).await?
            }
        };
        line.stream("/process.Process/Connect", &message, None).await
    }
}
