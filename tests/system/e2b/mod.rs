//! Programs that speak E2B's protocol, unmodified: its SDKs in Python and JavaScript, and programs that use them.
//!
//! The checks are programs of this folder. `config/setup.sh e2b` installs what they run with, and makes the image of their
//! sandboxes. Each prints what failed.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{docker::Corner, program::Program};

const IMAGE: &str = "sandglass-test/e2b:stable";
const KEY: &str = "e2b_0123456789abcdef0123456789abcdef01234567";
const NEWEST: &str = "python";
const OLDER: &str = "python-older";
/// Far longer than a program takes on a machine that does much else.
const BOUND: Duration = Duration::from_secs(180);

/// A supervisor whose sandboxes are those that E2B's clients ask for.
struct Ground {
    program: Program,
    directory: TempDir,
    _corner: Corner,
}

impl Ground {
    async fn new() -> Self {
        let corner = Corner::new().await;
        let found = corner.client.inspect_image(IMAGE).await;
        found.expect("this test needs the image sandglass-test/e2b:stable: `config/setup.sh e2b` makes it");
        let directory = tempfile::tempdir().expect("a directory of the test's own");
        let file = directory.path().join("e2b.toml");
        let template = format!("image = \"{IMAGE}\"\nprivilege_escalation = true\n");
        let text = format!(
            "[http]\napi_key = \"{KEY}\"\n[docker]\nmax_creates = 100\n[templates.base]\nports = []\n{template}[templates.code-interpreter-v1]\n{template}"
        );
        std::fs::write(&file, text).expect("it can be written");
        let file = file.to_str().expect("a path in UTF-8");
        let program = Program::serve(directory.path(), &["--config", file, "--prefix", &corner.prefix]).await;
        Self { program, directory, _corner: corner }
    }

    /// Runs a program with what is installed as `environment`, below `target/e2b`, and returns what it said if it failed.
    async fn run(&self, environment: &str, arguments: &[&str]) -> Result<(), String> {
        let installed = installed().join(environment);
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/system/e2b");
        let script = here.join(arguments[0]);
        let mut command = if environment == "javascript" {
            let mut command = Command::new(installed.join("node"));
            command.arg(&script).arg(&installed);
            command
        } else {
            let mut command = Command::new(installed.join("bin/python"));
            command.arg(&script);
            command
        };
        command
            .args(&arguments[1..])
            .current_dir(self.directory.path())
            .env("E2B_API_KEY", KEY)
            .env("E2B_API_URL", self.program.url())
            .env("E2B_SANDBOX_URL", self.program.url())
            .env("HOME", self.directory.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("CREWAI_DISABLE_TELEMETRY", "true")
            .env("OTEL_SDK_DISABLED", "true")
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let name = format!("{environment}: {}", arguments.join(" "));
        let ran = tokio::time::timeout(BOUND, command.output()).await;
        let output = ran.map_err(|_| format!("{name} did not end"))?;
        let output =
            output.map_err(|error| format!("{name}: {error}: `config/setup.sh e2b` installs what it needs"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Err(format!("{name}: {}\n{}{}", output.status, said[0], said[1]))
    }

    /// Runs these side by side; all have to pass, and leave no sandbox.
    async fn all<const N: usize>(&self, programs: [(&str, &[&str]); N]) {
        let ran = programs.map(|(environment, arguments)| self.run(environment, arguments));
        let failed: Vec<String> =
            futures_util::future::join_all(ran).await.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }
}

/// Where `config/setup.sh` installs.
fn installed() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target)).join("e2b")
}

#[tokio::test]
async fn the_control_plane_is_what_the_python_sdks_expect() {
    let ground = Ground::new().await;
    ground
        .all([
            (NEWEST, &["control.py", "sync"]),
            (NEWEST, &["control.py", "async"]),
            (OLDER, &["control.py", "sync"]),
            (OLDER, &["control.py", "async"]),
        ])
        .await;
}

#[tokio::test]
async fn the_data_plane_is_what_the_python_sdks_expect() {
    let ground = Ground::new().await;
    ground
        .all([
            (NEWEST, &["data.py", "sync"]),
            (NEWEST, &["data.py", "async"]),
            (OLDER, &["data.py", "sync"]),
            (OLDER, &["data.py", "async"]),
        ])
        .await;
}

#[tokio::test]
async fn snapshots_and_forks_are_what_the_python_sdks_expect() {
    let ground = Ground::new().await;
    ground
        .all([
            (NEWEST, &["snapshots.py", "sync"]),
            (NEWEST, &["snapshots.py", "async"]),
            (OLDER, &["snapshots.py", "sync"]),
            (OLDER, &["snapshots.py", "async"]),
        ])
        .await;
}

#[tokio::test]
async fn code_runs_as_the_python_sdks_of_the_code_interpreter_expect() {
    let ground = Ground::new().await;
    ground
        .all([
            (NEWEST, &["interpreter.py", "sync"]),
            (NEWEST, &["interpreter.py", "async"]),
            (OLDER, &["interpreter.py", "sync"]),
            (OLDER, &["interpreter.py", "async"]),
        ])
        .await;
}

#[tokio::test]
async fn everything_is_what_the_javascript_sdks_expect() {
    Ground::new().await.all([("javascript", &["javascript.mjs"])]).await;
}

#[tokio::test]
async fn agents_of_smolagents_and_tools_of_crewai_work_in_sandboxes() {
    let ground = Ground::new().await;
    ground.all([(NEWEST, &["smolagents_program.py"]), ("crewai", &["crewai_program.py"])]).await;
}
