//! A Docker engine of one's own, which may be restarted and killed: beside the user's, and not to be confused with it.
//!
//! It lives in namespaces of its own for processes, mounts and the network, so that it binds no port and changes no
//! firewall of the host, and so that one signal ends all of it, its containers included. What holds the namespaces is a
//! process that waits for the end of its standard input: it goes with whoever started it, however that ends.

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

/// How to get what it needs.
pub const HOW_TO_GET_ONE: &str = "an engine of its own needs root and the programs dockerd, ip, unshare and nsenter: \
     run it as root, after `config/setup.sh docker engine`";

const TIMEOUT_SECONDS: u64 = 120;
const UP_WITHIN: Duration = Duration::from_secs(60);
const DOWN_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The first process of the namespaces: reaps what is left behind there, until nobody holds its standard input.
const HOLDER: &str = "ip link set lo up && cat >/dev/null; :";

/// The engine. Everything of it is gone when it is dropped. A signal or a client fails while dockerd is down, and a wait for
/// its end when it does not end.
pub struct OwnEngine {
    directory: PathBuf,
    cgroup: String,
    arguments: Vec<String>,
    holder: Child,
    /// What has started dockerd, and waits for it; `None`: it is down.
    daemon: Option<Child>,
}

impl OwnEngine {
    /// Starts one with these arguments for dockerd besides its own, and waits until it answers. It has no image yet.
    ///
    /// # Errors
    /// When it cannot be had here, with [`HOW_TO_GET_ONE`].
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
        // From here on, dropping it cleans up.
        let mut engine = Self { directory, cgroup: name, arguments, holder, daemon: None };
        engine.begin().await.context(HOW_TO_GET_ONE)?;
        Ok(engine)
    }

    /// Its address, as `docker.host` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket())
    }

    /// Its own directory, for files that go with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A client of it.
    pub fn client(&self) -> anyhow::Result<Docker> {
        Docker::connect_with_unix(&self.socket(), TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .context("the engine of its own has no socket")
    }

    /// Takes this image over from another engine.
    ///
    /// # Errors
    /// When one of the two does not do its part.
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

    /// SIGTERM, which stops its containers first, and waits for its end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM).await?;
        self.wait_for_its_end().await
    }

    /// `kill -9`, and waits for its end. Its containers live on without it.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL).await?;
        self.wait_for_its_end().await
    }

    /// Sends a signal to dockerd, and waits for nothing.
    pub async fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let daemon = self.daemon.as_ref().context("it is down")?;
        kill(Pid::from_raw(first_child_of(daemon.id()).await?), signal).context("failed to signal dockerd")
    }

    /// What runs a program in its network, where its published ports are.
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
        // The end of its input ends the first process of the namespaces, which takes all others along.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.wait();
        }
        // Its mounts went with their namespace. Control groups belong to nobody, and stay.
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]) {
            remove_cgroups(&hierarchy.join(&self.cgroup));
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("failed to remove {}: {error}", self.directory.display());
        }
    }
}

/// Removes a control group without processes, the inner ones first.
fn remove_cgroups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// The process that `parent` has started, once it has.
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
