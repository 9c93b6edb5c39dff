//! Child processes: this program in another role. Dropping one kills it, and one whose parent is gone ends by itself,
//! since its standard input ends.

use std::{process::Stdio, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Far longer than any answer takes.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// A process that answers each line with one line, both JSON.
pub(crate) struct Helper {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Its temporary directory, removed with it.
    _temporary: TempDir,
}

impl Helper {
    /// Starts a process in this role, with `setup` as its second argument.
    pub(crate) fn start(role: &str, setup: &impl Serialize) -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let mut command = Command::new(program);
        command.arg(format!("--role={role}")).arg(serde_json::to_string(setup).expect("a setup becomes JSON"));
        let temporary = tempfile::tempdir().expect("a temporary directory");
        command.env("TMPDIR", temporary.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        // A server logs by default to this file, for finding faults.
        if std::env::var_os("SANDGLASS_FIGURES_LOG").is_none() {
            command.stderr(Stdio::null());
        }
        let mut child = command.spawn().expect("this program can be started");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = child.stdout.take().expect("a pipe");
        Self { child, stdin, lines: BufReader::new(stdout).lines(), _temporary: temporary }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Reads the next line from it.
    pub(crate) async fn hear<T: DeserializeOwned>(&mut self) -> T {
        let line = timeout(ANSWER_WITHIN, self.lines.next_line()).await.expect("an answer in time");
        let line = line.expect("its output can be read").expect("it lives; SANDGLASS_FIGURES_LOG=1 shows its log");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    /// Sends a question and waits for the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, question: &impl Serialize) -> T {
        let line = serde_json::to_string(question).expect("a question becomes JSON") + "\n";
        self.stdin.write_all(line.as_bytes()).await.expect("it lives");
        self.hear().await
    }

    /// Closes its input and waits until it has ended.
    pub(crate) async fn end(mut self) {
        drop(self.stdin);
        let _ = timeout(Duration::from_secs(20), self.child.wait()).await;
    }
}
