//! A throw-away `sandglass serve`, and requests to it.

use std::{
    ffi::OsStr,
    fmt::{self, Display, Formatter},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::domain::SandboxId;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A running instance; killed when it is dropped.
///
/// Requests fail only without an answer. Waits fail with the last answer or the log when their time is over.
pub struct Instance {
    child: Child,
    log: PathBuf,
    client: reqwest::Client,
    url: String,
}

/// An answer, displayed as its status and body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body: JSON, or a string if it is not JSON.
    pub body: Value,
}

impl Answer {
    /// The code of an error, or an empty string.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.body)
    }
}

impl Instance {
    /// A command for `program` through `wrapper`, a command that executes the arguments after its own. Of the environment,
    /// only `PATH` and `HOME` are passed on.
    pub fn command(wrapper: &[&str], program: &Path) -> Command {
        let mut words = wrapper.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env_clear();
        for name in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Starts `command` in `directory`, with its log in a new file there.
    ///
    /// # Errors
    /// When the file cannot be made or the command not be started.
    pub fn spawn(command: Command, directory: &Path) -> anyhow::Result<Self> {
        let log = directory.join(format!("log-{}", SandboxId::generate()));
        let stderr = File::create(&log)?.into();
        Self::spawn_logging_to(stderr, log, String::new(), command, directory)
    }

    /// Like [`Instance::spawn`], with the log to `stderr`. `url` is where it will listen, since the log is not read.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn spawn_at(url: String, stderr: Stdio, command: Command, directory: &Path) -> anyhow::Result<Self> {
        Self::spawn_logging_to(stderr, "/dev/null".into(), url, command, directory)
    }

    fn spawn_logging_to(
        stderr: Stdio,
        log: PathBuf,
        url: String,
        mut command: Command,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        command.current_dir(directory).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().with_context(|| format!("failed to start {:?}", command.as_std().get_program()))?;
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
        Ok(Self { child, log, client, url })
    }

    /// Waits until its log says that it is ready, and takes its address from there.
    pub async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        self.wait_until("ready on ", READY_WITHIN).await
    }

    /// Waits until its log says `words` followed by its address.
    pub async fn wait_until(&mut self, words: &str, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let log = self.log()?;
            let rest = log.split(words).nth(1);
            // The address is complete only when its line has ended.
            if let Some(rest) = rest.filter(|rest| rest.contains('\n')) {
                let url = rest.split_whitespace().next().unwrap_or_default();
                self.url = url.trim_matches(|c: char| c.is_control() || "\";".contains(c)).to_owned();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("an instance ended with {status} instead of being ready:\n{log}");
            }
            ensure!(Instant::now() < deadline, "an instance was not ready within {within:?}:\n{log}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until its log contains `words`.
    pub async fn until_it_says(&self, words: &str, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        while !self.log()?.contains(words) {
            ensure!(Instant::now() < deadline, "it does not say {words:?} within {within:?}:\n{}", self.log()?);
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Its log so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    pub(super) fn log_path(&self) -> &Path {
        &self.log
    }

    /// The URL of its interface, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id, until it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.client.get(format!("{}{path}", self.url))).await
    }

    /// Sends a POST; without a body if it is null.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let request = self.client.post(format!("{}{path}", self.url));
        self.send(if body.is_null() { request } else { request.body(body.to_string()) }).await
    }

    /// Sends a DELETE.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.client.delete(format!("{}{path}", self.url))).await
    }

    pub(super) async fn sandbox(&self, id: &str) -> anyhow::Result<Answer> {
        self.get(&format!("/v1/sandboxes/{id}")).await
    }

    /// Posts to `/v1/sandboxes/{id}/{action}` without a body.
    pub(super) async fn act(&self, id: &str, action: &str) -> anyhow::Result<Answer> {
        self.post(&format!("/v1/sandboxes/{id}/{action}"), &Value::Null).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// The value of a metric; 0 while it has not appeared.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let answer = self.get("/metrics").await?;
        ensure!(answer.status == 200, "its metrics were answered with {}", answer.status);
        let text = answer.body.as_str().unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(Ok(0.0), |value| value.trim().parse().with_context(|| format!("{name} is {value}")))
    }

    /// Waits until `/readyz` answers that `part` is not ready, or that everything is (`None`). Returns its answer.
    pub async fn until_without(&self, part: Option<&str>, within: Duration) -> anyhow::Result<Value> {
        let wanted = part.map_or("ready".to_owned(), |part| format!("without its {part}"));
        let is_so = |answer: &Answer| match part {
            None => answer.status == 200,
            Some(part) => {
                let reasons = answer.body["reasons"].as_array().map_or(&[][..], Vec::as_slice);
                reasons.iter().any(|reason| reason["part"] == part)
            }
        };
        self.until_told("/readyz", &format!("it is not {wanted}"), within, is_so).await
    }

    /// Waits until a sandbox has this status, and returns the sandbox.
    pub async fn until(&self, id: &str, status: &str, within: Duration) -> anyhow::Result<Value> {
        let path = format!("/v1/sandboxes/{id}");
        self.until_told(&path, &format!("{id} is not {status}"), within, |answer| answer.body["status"] == status).await
    }

    /// Waits until a sandbox has this `base_url`.
    pub async fn until_it_is_at(&self, id: &str, base_url: &str, within: Duration) -> anyhow::Result<()> {
        let (path, is_not) = (format!("/v1/sandboxes/{id}"), format!("{id} is not at {base_url}"));
        self.until_told(&path, &is_not, within, |answer| answer.body["base_url"] == base_url).await.map(drop)
    }

    async fn until_told(
        &self,
        path: &str,
        is_not: &str,
        within: Duration,
        is_so: impl Fn(&Answer) -> bool,
    ) -> anyhow::Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            let answer = self.get(path).await?;
            if is_so(&answer) {
                return Ok(answer.body);
            }
            ensure!(Instant::now() < deadline, "{is_not} within {within:?}: {}", answer.body);
            sleep(LOOK_EVERY * 2).await;
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended already.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child.id().context("the instance has ended")?;
        kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
        Ok(())
    }

    /// Waits until its process has ended.
    pub async fn ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        match timeout(within, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("an instance still runs after {within:?}:\n{}", self.log()?),
        }
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("failed to kill an instance")
    }

    /// Sends SIGTERM and waits for a clean end.
    ///
    /// # Errors
    /// When it does not end within 30 s, or with another status than 0.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.ended(STOPPED_WITHIN).await?;
        ensure!(status.success(), "an instance ended with {status}:\n{}", self.log()?);
        Ok(())
    }
}
