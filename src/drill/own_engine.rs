//! A Docker engine beside the user's, which may be restarted and killed.
//!
//! It runs in its own namespaces of processes, mounts and the network, so that it binds no port and changes no firewall of
//! the host, and so that one signal ends it with its containers. The process that holds the namespaces waits for the end of
//! its standard input, so it ends with the process that started it, however that ends.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use bollard::{API_DEFAULT_VERSION, Docker, query_parameters::ImportImageOptions};
use futures_util::{StreamExt, TryStreamExt};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{Instant, sleep};

use crate::domain::SandboxId;

const HOW_TO_GET_ONE: &str = "an engine of its own needs root and the programs dockerd, ip, unshare and nsenter: \
     run it as root, after `config/setup.sh docker engine`";

const TIMEOUT_SECONDS: u64 = 120;
const UP_WITHIN: Duration = Duration::from_secs(60);
const DOWN_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The first process of the namespaces: reaps orphans there until its standard input is closed.
const HOLDER: &str = "ip link set lo up && cat >/dev/null; :";

/// The engine. Dropping it removes its processes and files. Signals and clients fail while dockerd is down, and waits for
/// its end when it does not end within a minute.
pub struct OwnEngine {
    directory: PathBuf,
    cgroup: String,
    arguments: Vec<String>,
    holder: Child,
    /// The parent of dockerd, which ends with it; `None` while dockerd is down.
    daemon: Option<Child>,
}

impl OwnEngine {
    /// Starts an engine without images, with these additional arguments for dockerd, and waits until it answers.
    ///
    /// # Errors
    /// When that is not possible here, with what to install.
    pub async fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let name = format!("engine-{}", SandboxId::generate());
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir(&directory).with_context(|| format!("failed to make {}", directory.display()))?;
        let holder = Command::new("unshare")
            .args(["--fork", "--pid", "--mount", "--net", "--mount-proc", "--kill-child", "sh", "-c", HOLDER])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let holder = match holder {
            Ok(holder) => holder,
            Err(error) => {
                let _ = fs::remove_dir_all(&directory);
                return Err(error).context(HOW_TO_GET_ONE);
            }
        };
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        // From here on, dropping `engine` cleans up.
        let mut engine = Self { directory, cgroup: name, arguments, holder, daemon: None };
        engine.begin().await.context(HOW_TO_GET_ONE)?;
        Ok(engine)
    }

    /// Its address, as `docker.host`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket())
    }

    /// Its directory, which is removed with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A client of this engine.
    pub fn client(&self) -> anyhow::Result<Docker> {
        Docker::connect_with_unix(&self.socket(), TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .context("the engine of its own has no socket")
    }

    /// Copies an image from another engine.
    ///
    /// # Errors
    /// When the export or the import fails.
    pub async fn take_image(&self, from: &Docker, image: &str) -> anyhow::Result<()> {
        let archive = from.export_image(image).try_fold(Vec::new(), |mut all, part| async move {
            all.extend_from_slice(&part);
            Ok(all)
        });
        let archive = archive.await.with_context(|| format!("failed to export {image}"))?;
        let client = self.client()?;
        let body = bollard::body_full(archive.into());
        let mut steps = std::pin::pin!(client.import_image(ImportImageOptions::default(), body, None));
        while let Some(step) = steps.next().await {
            step.with_context(|| format!("failed to load {image}"))?;
        }
        client.inspect_image(image).await.with_context(|| format!("{image} is not there after it was loaded"))?;
        Ok(())
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`], and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up, with the end of its log.
    pub async fn begin(&mut self) -> anyhow::Result<()> {
        ensure!(self.daemon.is_none(), "it is up already");
        let log = File::options().create(true).append(true).open(self.directory.join("log"))?;
        let holder = first_child_of(self.holder.id()).await?;
        let path = |name: &str| self.directory.join(name);
        let daemon = Command::new("nsenter")
            .args(["--target", &holder.to_string(), "--mount", "--net", "--pid", "--", "dockerd"])
            .args(["--host", &self.host(), "--cgroup-parent", &format!("/{}", self.cgroup)])
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("failed to start nsenter")?;
        self.daemon = Some(daemon);
        let deadline = Instant::now() + UP_WITHIN;
        while !self.answers().await {
            let ended = self.daemon.as_mut().and_then(|daemon| daemon.try_wait().ok().flatten());
            ensure!(ended.is_none() && Instant::now() < deadline, "dockerd does not come up: {}", self.end_of_log());
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Sends SIGTERM, on which dockerd stops its containers first, and waits for its end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM).await?;
        self.wait_for_its_end().await
    }

    /// Sends SIGKILL and waits for its end. Its containers live on.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL).await?;
        self.wait_for_its_end().await
    }

    /// Sends a signal to dockerd.
    pub async fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let daemon = self.daemon.as_ref().context("it is down")?;
        kill(Pid::from_raw(first_child_of(daemon.id()).await?), signal).context("failed to signal dockerd")
    }

    /// A command for a program in its network, where its published ports are.
    ///
    /// # Errors
    /// When its namespaces are gone.
    pub async fn in_its_network(&self, program: &str) -> anyhow::Result<Command> {
        let mut command = Command::new("nsenter");
        let holder = first_child_of(self.holder.id()).await?;
        command.args(["--target", &holder.to_string(), "--net", "--", program]);
        Ok(command)
    }

    /// Waits until dockerd has ended.
    pub async fn wait_for_its_end(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DOWN_WITHIN;
        while let Some(daemon) = &mut self.daemon {
            if daemon.try_wait()?.is_some() {
                self.daemon = None;
            } else {
                ensure!(Instant::now() < deadline, "dockerd does not end: {}", self.end_of_log());
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    async fn answers(&self) -> bool {
        match self.client() {
            Ok(client) => client.ping().await.is_ok(),
            Err(_) => false,
        }
    }

    fn socket(&self) -> String {
        self.directory.join("docker.sock").display().to_string()
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        // The end of its input ends the first process of the namespaces, and with it all others there.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.wait();
        }
        // Its mounts went with their namespace, but control groups stay.
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]) {
            remove_cgroups(&hierarchy.join(&self.cgroup));
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("failed to remove {}: {error}", self.directory.display());
        }
    }
}

/// Removes an empty control group, after those inside it.
fn remove_cgroups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// Waits until `parent` has a child process, and returns its id.
async fn first_child_of(parent: u32) -> anyhow::Result<i32> {
    let deadline = Instant::now() + UP_WITHIN;
    while Instant::now() < deadline {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            return Ok(child.parse()?);
        }
        ensure!(Path::new(&format!("/proc/{parent}")).exists(), "the process has ended");
        sleep(LOOK_EVERY).await;
    }
    bail!("process {parent} has started nothing")
}
