//! The real binary, killed when it is dropped. Its failures fail the test.

use std::{
    ops::Deref,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
pub use sandglass::drill::Answer;
use sandglass::drill::Instance;
use serde_json::Value;
use tokio::time::{Instant, sleep};

const PATH: &str = env!("CARGO_BIN_EXE_sandglass");
const READY_WITHIN: Duration = Duration::from_secs(30);
const ANY_PORT: &str = "127.0.0.1:0";

/// A running `sandglass serve`.
pub struct Program(Instance);

impl Deref for Program {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.0
    }
}

/// A command for `sandglass` that inherits only the variables that lead to Docker.
pub fn command(arguments: &[&str]) -> Command {
    by_way_of(&[], arguments).into_std()
}

fn by_way_of(wrapper: &[&str], arguments: &[&str]) -> tokio::process::Command {
    let mut command = Instance::command(wrapper, Path::new(PATH));
    command.args(arguments).stdin(Stdio::null());
    for name in ["DOCKER_HOST", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// `serve` on this address, with short graces.
fn serve(wrapper: &[&str], address: &str, arguments: &[&str]) -> tokio::process::Command {
    // Walls have tests of their own, which say so. The last setting of a key counts.
    let ours = ["serve", "--bind", address, "--set", "docker.stop_grace=1", "--set", "docker.network=default"];
    by_way_of(wrapper, &[&ours, arguments].concat())
}

impl Program {
    /// Starts it on a free port with its log in `directory`, and waits until it is ready.
    pub async fn serve(directory: &Path, arguments: &[&str]) -> Self {
        Self::spawn(directory, arguments).ready().await
    }

    /// Like [`Program::serve`], on a given port.
    pub async fn serve_at(address: &str, directory: &Path, arguments: &[&str]) -> Self {
        Self::spawn_with(address, directory, &[], arguments).ready().await
    }

    /// Like [`Program::serve`], with these variables in its environment.
    pub async fn serve_with(directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::spawn_with(ANY_PORT, directory, variables, arguments).ready().await
    }

    /// Like [`Program::serve`], with a hard limit of `files` open files and a soft limit of half of that.
    pub async fn serve_with_files(files: usize, directory: &Path, arguments: &[&str]) -> Self {
        let script = format!("ulimit -Sn {} && ulimit -Hn {files} && exec \"$0\" \"$@\"", files / 2);
        let command = serve(&["sh", "-c", &script], ANY_PORT, arguments);
        Self(Instance::spawn(command, directory).expect("it starts")).ready().await
    }

    /// Starts it with this standard error stream, and asks until it is ready.
    pub async fn serve_telling(stderr: Stdio, directory: &Path, arguments: &[&str]) -> Self {
        // Its log, which would say the port, is not read, so give it one that was free a moment ago.
        let probe = std::net::TcpListener::bind(ANY_PORT).expect("a free port");
        let address = probe.local_addr().expect("its number").to_string();
        drop(probe);
        let command = serve(&[], &address, arguments);
        let url = format!("http://{address}");
        let mut program = Self(Instance::spawn_at(url, stderr, command, directory).expect("it starts"));
        let deadline = Instant::now() + READY_WITHIN;
        while !program.0.get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
            let ended = program.0.ended(Duration::ZERO).await.ok();
            assert!(ended.is_none() && Instant::now() < deadline, "it is not ready: {ended:?}");
            sleep(Duration::from_millis(20)).await;
        }
        program
    }

    /// Starts it without waiting.
    pub fn spawn(directory: &Path, arguments: &[&str]) -> Self {
        Self::spawn_with(ANY_PORT, directory, &[], arguments)
    }

    /// Starts it with these variables in its environment, without waiting.
    pub fn spawn_with(address: &str, directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = serve(&[], address, arguments);
        command.envs(variables.iter().copied());
        Self(Instance::spawn(command, directory).expect("it starts"))
    }

    /// Starts it as a standby, and waits until it says that it is one.
    pub async fn stand_by(directory: &Path, arguments: &[&str]) -> Self {
        let mut program = Self::spawn(directory, &[arguments, &["--standby"]].concat());
        program.0.wait_until("standing by on ", READY_WITHIN).await.expect("a standby");
        program
    }

    async fn ready(mut self) -> Self {
        self.wait_until_ready().await;
        self
    }

    /// Waits until it says that it is ready.
    pub async fn wait_until_ready(&mut self) {
        self.0.wait_until("ready on ", READY_WITHIN).await.expect("it is ready");
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.0.log().expect("the log is readable")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.0.get(path).await.expect("it answers")
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.0.post(path, body).await.expect("it answers")
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.0.delete(path).await.expect("it answers")
    }

    /// The value of a metric; 0 while it has not appeared.
    pub async fn metric(&self, name: &str) -> f64 {
        self.0.metric(name).await.expect("a number")
    }

    /// Creates a sandbox; that has to succeed.
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
        self.0.signal(signal).expect("the signal is sent");
    }

    /// Waits until its process has ended.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        self.0.ended(within).await.expect("it ends")
    }

    /// `kill -9`.
    pub async fn kill(self) {
        self.0.kill().await.expect("it is killed");
    }

    /// Sends SIGTERM and waits for a clean end.
    pub async fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let status = self.ended(Duration::from_secs(20)).await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.log()
    }
}
