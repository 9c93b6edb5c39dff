//! Reaches the agent: an exec of `agent dial`, whose standard input and output carry the connection.
//!
//! So nothing is published, and neighbours and users of the host find no port; it also works without a network, and with an
//! engine on another machine or without root.

use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
    models::ContainerInspectResponse,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{
    Docker,
    error::CallError,
    stdio::{Input, Messages, Stdio},
    volume::AGENT_PATH,
};
use crate::ports::{
    inside::{Connection, InsideError},
    runtime::ContainerRef,
};

/// What a dial writes before it relays: this and its version, and the end of the line.
const GREETING: &[u8] = b"sandglass-agent ";
/// The longest text that is taken for a greeting or an error.
const MOST_TEXT: usize = 4096;
/// How many bytes are read at a time. The engine frames its output in pieces of 32 KiB and a head; a smaller buffer would be
/// enlarged for each of them.
const READ_AT_ONCE: usize = 64 << 10;

/// Why no agent answered.
enum Unanswered {
    /// There is no agent to be run.
    Missing,
    Other(InsideError),
}

impl Docker {
    /// Connects to the agent of a running container, and brings it there if it is missing.
    pub(super) async fn dial_agent(
        &self,
        found: &ContainerInspectResponse,
        container: &ContainerRef,
    ) -> Result<Box<dyn Connection>, InsideError> {
        let id = found.id.as_deref().unwrap_or_default();
        let name = format!("sandglass-agent.{}", container.sandbox);
        let user = found.config.as_ref().and_then(|config| config.user.as_deref()).unwrap_or_default();
        let runs_as = runs_as(found, user);
        match self.exec_dial(id, runs_as, &name, user).await {
            Err(Unanswered::Missing) => self.bring_agent(found).await?,
            Err(Unanswered::Other(error)) => return Err(error),
            Ok(connection) => return Ok(connection),
        }
        self.exec_dial(id, runs_as, &name, user).await.map_err(|unanswered| match unanswered {
            Unanswered::Other(error) => error,
            Unanswered::Missing => InsideError::NoAgent(format!("{AGENT_PATH} was put there, and is not there")),
        })
    }

    async fn exec_dial(
        &self,
        id: &str,
        runs_as: &str,
        name: &str,
        user: &str,
    ) -> Result<Box<dyn Connection>, Unanswered> {
        let limit = self.engine.settings.call_timeout;
        let opened = timeout(limit, async {
            let options = CreateExecOptions {
                attach_stdin: Some(true),
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                user: Some(runs_as),
                cmd: Some(vec![AGENT_PATH, "dial", name, user]),
                ..Default::default()
            };
            let exec = self.engine.call(|docker| async move { docker.create_exec(id, options).await }).await;
            let exec = exec.map_err(refused)?;
            let options = StartExecOptions { output_capacity: Some(READ_AT_ONCE), ..Default::default() };
            let started =
                self.engine.unbounded(|docker| async move { docker.start_exec(&exec.id, Some(options)).await }).await;
            match started.map_err(refused)? {
                StartExecResults::Attached { output, input } => greeted(output, input).await,
                StartExecResults::Detached => Err(failed("the engine detached from the agent")),
            }
        });
        opened.await.unwrap_or_else(|_elapsed| Err(failed(&format!("the agent did not answer within {limit:?}"))))
    }
}

/// Whom the agent runs as: root, since it works for all users of the container.
///
/// Where the container's own user is another one and nobody may gain privileges, engines give root no capabilities: it
/// could become nobody else. There the agent runs as the container's user, and works for that one.
fn runs_as<'a>(found: &ContainerInspectResponse, user: &'a str) -> &'a str {
    let options = found.host_config.as_ref().and_then(|host| host.security_opt.as_deref()).unwrap_or_default();
    let hardened = options
        .iter()
        .any(|option| option.strip_prefix("no-new-privileges").is_some_and(|value| !value.ends_with("false")));
    let name = user.split(':').next().unwrap_or_default();
    if hardened && !matches!(name, "" | "0" | "root") { user } else { "0" }
}

/// Waits for the greeting. Anything else is the text of an error: an engine that cannot run the agent says so in its place.
async fn greeted(mut messages: Messages, input: Input) -> Result<Box<dyn Connection>, Unanswered> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(message) = messages.next().await {
        match message.map_err(|error| failed(&error.to_string()))? {
            LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
            message => stdout.extend_from_slice(&message.into_bytes()),
        }
        let end = stdout.iter().position(|byte| *byte == b'\n');
        if let Some(end) = end.filter(|_| stdout.starts_with(GREETING)) {
            let rest = Bytes::from(stdout).slice(end + 1..);
            return Ok(Box::new(Stdio::new(messages, input, rest)));
        }
        if stdout.len() + stderr.len() > MOST_TEXT {
            break;
        }
    }
    stdout.extend_from_slice(&stderr);
    Err(explain(String::from_utf8_lossy(&stdout).trim()))
}

fn refused(error: CallError) -> Unanswered {
    match error {
        // A proxy in front of the engine that lets only some calls through.
        CallError::Refused { status: 403, message } => Unanswered::Other(InsideError::NoAgent(format!(
            "the engine does not allow exec ({}); allow POST /containers/*/exec and POST /exec/*/start",
            message.trim()
        ))),
        CallError::Refused { message, .. } if message.contains("OCI runtime exec failed") => explain(&message),
        error => Unanswered::Other(error.inside("run the agent")),
    }
}

fn failed(why: &str) -> Unanswered {
    Unanswered::Other(InsideError::Failed(format!("failed to reach the agent: {why}")))
}

/// What the text of a failed exec means.
fn explain(text: &str) -> Unanswered {
    let advice = match text {
        _ if !text.contains(AGENT_PATH) => "",
        _ if text.contains("no such file or directory") => return Unanswered::Missing,
        _ if text.contains("permission denied") => {
            "; it may not be executed there (a mount with noexec?): make the template's sandboxes with agent = true"
        }
        _ if text.contains("exec format error") => {
            "; the engine's machine has another architecture than this Sandglass: run a Sandglass that is built for it"
        }
        _ => "",
    };
    match text {
        "" => failed("it ended without a word"),
        _ if text.contains("stopped state") || text.contains("is not running") => {
            Unanswered::Other(InsideError::NotRunning("it has ended".to_owned()))
        }
        text => Unanswered::Other(InsideError::NoAgent(format!("{text}{advice}"))),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn stdout(text: &str) -> LogOutput {
        LogOutput::StdOut { message: Bytes::copy_from_slice(text.as_bytes()) }
    }

    async fn heard(messages: Vec<LogOutput>) -> Result<Box<dyn Connection>, Unanswered> {
        let input: Input = Box::pin(tokio::io::sink());
        greeted(Box::pin(stream::iter(messages.into_iter().map(Ok))), input).await
    }

    #[test]
    fn the_agent_is_root_unless_root_can_become_nobody_else() {
        let of = |options: &[&str]| ContainerInspectResponse {
            host_config: Some(bollard::models::HostConfig {
                security_opt: Some(options.iter().map(|option| (*option).to_owned()).collect()),
                ..Default::default()
            }),
            ..Default::default()
        };
        for hardened in ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"] {
            for (user, runs_as_user) in [("", "0"), ("0:0", "0"), ("root", "0"), ("1000", "1000"), ("me:us", "me:us")] {
                assert_eq!(runs_as(&of(&["seccomp=unconfined", hardened]), user), runs_as_user);
            }
        }
        for free in [&["no-new-privileges:false"][..], &[]] {
            assert_eq!(runs_as(&of(free), "1000"), "0");
        }
    }

    #[tokio::test]
    async fn what_follows_the_greeting_is_the_connection() {
        let messages = vec![stdout("sandglass-ag"), stdout("ent 0.1.0\nfir"), stdout("st"), stdout(" second")];
        let Ok(mut connection) = heard(messages).await else { panic!("no greeting was heard") };
        let mut read = String::new();
        connection.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "first second");
    }

    #[tokio::test]
    async fn an_engine_that_cannot_run_the_agent_says_why() {
        let runtime =
            "OCI runtime exec failed: exec failed: unable to start container process: exec: \"/.sandglass/agent\": ";
        let missing =
            heard(vec![stdout(&format!("{runtime}stat /.sandglass/agent: no such file or directory: unknown\r\n"))]);
        assert!(matches!(missing.await, Err(Unanswered::Missing)));
        for (problem, advice) in [
            ("permission denied: unknown", "noexec"),
            ("exec format error", "architecture"),
            ("cannot allocate memory", "cannot allocate memory"),
        ] {
            let Err(Unanswered::Other(InsideError::NoAgent(told))) =
                heard(vec![stdout(&format!("{runtime}{problem}"))]).await
            else {
                panic!("{problem} was taken for something else");
            };
            assert!(told.contains(advice), "{told}");
        }
        let late = stdout("OCI runtime exec failed: exec failed: cannot exec in a stopped state: unknown");
        assert!(matches!(heard(vec![late]).await, Err(Unanswered::Other(InsideError::NotRunning(_)))));
        let own = LogOutput::StdErr { message: Bytes::from_static(b"no socket can be made: too many open files\n") };
        let Err(Unanswered::Other(InsideError::NoAgent(told))) = heard(vec![own]).await else { panic!() };
        assert_eq!(told, "no socket can be made: too many open files");
    }
}
