//! The real binary, killed when a test is done with it.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running `sandglass serve`.
pub struct Program {
    child: Child,
    log: PathBuf,
    client: reqwest::Client,
    pub url: String,
}

/// An answer: its status and its body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// `sandglass` with an environment of its own: only what finds Docker is inherited.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandglass"));
    command.args(arguments);
    isolated(command)
}

fn isolated(mut command: Command) -> Command {
    command.env_clear().stdin(Stdio::null());
    for name in ["PATH", "HOME", "DOCKER_HOST", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

impl Program {
    /// Starts it on a free port and waits until it is ready. Its log goes to a file in `directory`.
    pub async fn serve(directory: &Path, arguments: &[&str]) -> Self {
        let mut program = Self::spawn(directory, arguments);
        program.wait_until_ready().await;
        program
    }

    /// [`Program::serve`] on a port that is known before.
    pub async fn serve_at(address: &str, directory: &Path, arguments: &[&str]) -> Self {
        let mut program = Self::spawn_at(address, directory, arguments);
        program.wait_until_ready().await;
        program
    }

    /// [`Program::serve`] with these variables in its environment.
    pub async fn serve_with(directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut program = Self::spawn_with("127.0.0.1:0", directory, variables, arguments);
        program.wait_until_ready().await;
        program
    }

    /// Starts it, without waiting for anything.
    pub fn spawn(directory: &Path, arguments: &[&str]) -> Self {
        Self::spawn_at("127.0.0.1:0", directory, arguments)
    }

    fn spawn_at(address: &str, directory: &Path, arguments: &[&str]) -> Self {
        Self::spawn_with(address, directory, &[], arguments)
    }

    /// The same with these variables in its environment.
    pub fn spawn_with(address: &str, directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let log = directory.join(format!("log-{}", sandglass::domain::SandboxId::generate()));
        let file = File::create(&log).expect("a file for the log");
        Self::spawn_telling(file.into(), log, address, directory, variables, arguments)
    }

    /// Starts it with another standard error stream than a file, and asks until it is ready.
    pub async fn serve_telling(stderr: Stdio, directory: &Path, arguments: &[&str]) -> Self {
        // Nobody can read which port it got: it is given one that was free a moment ago.
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = probe.local_addr().expect("its number").to_string();
        drop(probe);
        let mut program = Self::spawn_telling(stderr, "/dev/null".into(), &address, directory, &[], arguments);
        program.url = format!("http://{address}");
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let asked = program.client.get(format!("{}/readyz", program.url)).send().await;
            if asked.is_ok_and(|answer| answer.status() == 200) {
                return program;
            }
            let ended = program.child.try_wait().expect("its state");
            assert!(ended.is_none() && Instant::now() < deadline, "it is not ready: {ended:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The other end of its standard error stream, if that is a pipe.
    pub fn reader_of_its_log(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().expect("a pipe")
    }

    fn spawn_telling(
        stderr: Stdio,
        log: PathBuf,
        address: &str,
        directory: &Path,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let command = command(&["serve", "--bind", address, "--set", "docker.stop_grace=1"]);
        Self::start(command, stderr, log, directory, variables, arguments)
    }

    /// [`Program::serve`] where at most `files` may be open, of which it may open only half until it asks for more.
    pub async fn serve_with_files(files: usize, directory: &Path, arguments: &[&str]) -> Self {
        let log = directory.join(format!("log-{}", sandglass::domain::SandboxId::generate()));
        let file = File::create(&log).expect("a file for the log");
        let mut shell = Command::new("sh");
        let script = format!("ulimit -Sn {} && ulimit -Hn {files} && exec \"$0\" \"$@\"", files / 2);
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_sandglass")]);
        shell.args(["serve", "--bind", "127.0.0.1:0", "--set", "docker.stop_grace=1"]);
        let mut program = Self::start(isolated(shell), file.into(), log, directory, &[], arguments);
        program.wait_until_ready().await;
        program
    }

    fn start(
        mut command: Command,
        stderr: Stdio,
        log: PathBuf,
        directory: &Path,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        command.current_dir(directory).args(arguments).envs(variables.iter().copied());
        command.stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().expect("the binary starts");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { child, log, client, url: String::new() }
    }

    /// Starts it as a standby, and waits until it says that it is one.
    pub async fn stand_by(directory: &Path, arguments: &[&str]) -> Self {
        let mut program = Self::spawn(directory, &[arguments, &["--standby"]].concat());
        program.wait_until("standing by on ").await;
        program
    }

    /// Waits until it says that it is ready.
    pub async fn wait_until_ready(&mut self) {
        self.wait_until("ready on ").await;
    }

    /// Waits until it says this, and then its address.
    async fn wait_until(&mut self, words: &str) {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(url) = self.log().split(words).nth(1).and_then(|rest| rest.split_whitespace().next()) {
                self.url = url.trim_matches(|c: char| c.is_control() || "\";".contains(c)).to_owned();
                return;
            }
            let ended = self.child.try_wait().expect("its state");
            assert!(ended.is_none() && Instant::now() < deadline, "it is not ready ({ended:?}):\n{}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        let mut text = String::new();
        File::open(&self.log).and_then(|mut file| file.read_to_string(&mut text)).expect("the log is readable");
        text
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.client.get(format!("{}{path}", self.url))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.client.post(format!("{}{path}", self.url));
        self.send(if body.is_null() { request } else { request.body(body.to_string()) }).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.client.delete(format!("{}{path}", self.url))).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.expect("it answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a whole answer");
        Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    /// A counter, or a bucket of a histogram, from its metrics; 0 when it has not appeared yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let Answer { status, body } = self.get("/metrics").await;
        assert_eq!(status, 200);
        let text = body.as_str().expect("text").to_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }

    /// Creates a sandbox, which has to succeed.
    pub async fn create(&self, body: &Value) -> Value {
        let Answer { status, body } = self.post("/v1/sandboxes", body).await;
        assert_eq!(status, 201, "{body}");
        body
    }

    /// Waits until a sandbox has this status.
    pub async fn until(&self, id: &str, wanted: &str, within: Duration) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let Answer { status, body } = self.get(&format!("/v1/sandboxes/{id}")).await;
            assert_eq!(status, 200, "{body}");
            if body["status"] == wanted {
                return body;
            }
            assert!(Instant::now() < deadline, "{id} is not {wanted} within {within:?}: {body}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the signal is sent");
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status;
            }
            assert!(Instant::now() < deadline, "it still runs after {within:?}:\n{}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.ended(Duration::from_secs(10)).await;
    }

    /// SIGTERM, and a clean end.
    pub async fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let status = self.ended(Duration::from_secs(20)).await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.log()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
