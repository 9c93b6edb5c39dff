//! The disk under the embedded store is full. The instance says so, pings go on, nothing is lost, and everything continues as
//! soon as there is room again.

use std::{path::PathBuf, process::Stdio};

use anyhow::ensure;
use tokio::process::{Child, Command};

use super::kit::*;
use crate::drill::runner::LeftOut;

const SHORT: Duration = Duration::from_secs(4);
/// Of the disk in memory, which the drill fills.
const SIZE: &str = "size=24m";
/// The metadata of a create, almost as long as is allowed, so that the store's file has to grow.
const PADDING: usize = 60_000;
const CREATES: usize = 40;
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
const GONE_WITHIN: Duration = Duration::from_secs(120);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let disk = Disk::new(&ground).await?;
    let (ledger, mut findings) = (Ledger::default(), Findings::default());
    let instance = disk.serve(&ground).await?;
    let used = ids(&ground, "used", 3);
    create_all(&instance, &ledger, &used, LONG).await?;
    let due = ground.id("due");
    ledger.begin(&instance, &due, LONG).await?;

    ground.say("filling the disk");
    disk.fill(&instance).await?;
    let padding = "x".repeat(PADDING);
    let mut padded = Vec::new();
    let refused = loop {
        ensure!(padded.len() < CREATES, "{CREATES} creates fit on a disk that is full");
        let id = ground.id(&format!("padded-{}", padded.len()));
        let body = json!({ "id": id, "idle_timeout": LONG.as_secs(), "metadata": { "padding": padding } });
        let answer = ledger.create(&instance, &body).await?;
        if answer.status != 201 {
            break answer;
        }
        padded.push(id);
    };
    findings.expect_refusal("a create on a full disk", &refused, 503, "store_unavailable");
    let says = refused.body["error"]["message"].as_str().unwrap_or_default();
    findings.expect(says.contains("make room"), || format!("the refusal does not say what to do: {says}"));
    instance.until_without(Some("store"), NOTICED_WITHIN).await?;
    let pinged = ledger.ping_all(&instance, &used).await?;
    findings.expect(pinged == used.len(), || format!("{pinged} of {} pings were acknowledged", used.len()));
    ledger.allow(&due, &["requested"]);
    let deleted = instance.delete(&format!("/v1/sandboxes/{due}")).await?;
    findings.expect(deleted.status == 202, || format!("a delete on a full disk was answered with {deleted}"));
    sleep(SHORT).await;
    let waits = instance.sandbox(&due).await?.body;
    findings.expect(waits["status"] == "terminating", || format!("an end did not wait for its record: {waits}"));

    ground.say("making room");
    disk.make_room(&instance).await?;
    ledger.excuse_until(wall_seconds());
    let began = Instant::now();
    instance.until_without(None, NOTICED_WITHIN).await?;
    findings.measured("goes on", format!("{:.2} s after there was room", began.elapsed().as_secs_f64()));
    instance.until(&due, "terminated", GONE_WITHIN).await?;
    ledger.ping_all(&instance, &used).await?;
    let short = ground.id("short");
    ledger.begin(&instance, &short, SHORT).await?;
    instance.kill().await?;

    let instance = disk.serve(&ground).await?;
    for id in used.iter().chain(&padded) {
        ledger.is_kept(&instance, id, &mut findings).await?;
        ledger.end(&instance, id).await?;
    }
    ledger.ping(&instance, &short).await?;
    findings.done = format!("{} with the embedded store on it, and {} pings", disk.what(), used.len());
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

/// A disk that can be full.
enum Disk {
    /// In memory, mounted in the namespace of the process `holder`, with which it goes; needs root.
    InMemory { holder: Box<Child>, directory: PathBuf },
    /// A limit of the size of files, which any user can set for their own processes.
    Limit,
}

impl Disk {
    async fn new(ground: &Ground) -> anyhow::Result<Self> {
        if let Some(disk) = Self::in_memory(ground).await? {
            return Ok(disk);
        }
        let there = Command::new("prlimit").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        match there {
            Ok(status) if status.success() => Ok(Self::Limit),
            _ => Err(LeftOut("needs root, to mount a small disk, or the program `prlimit`").into()),
        }
    }

    /// Mounts the disk; `None` if that is not possible.
    async fn in_memory(ground: &Ground) -> anyhow::Result<Option<Self>> {
        let directory = ground.directory().join("disk");
        std::fs::create_dir(&directory)?;
        let script = format!("mount -t tmpfs -o {SIZE} tmpfs \"$0\" && touch \"$0/mounted\" && exec sleep 3600");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]).arg(&directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).process_group(0);
        let Ok(mut holder) = command.spawn() else { return Ok(None) };
        let until = Instant::now() + NOTICED_WITHIN;
        loop {
            let Some(pid) = holder.id() else { return Ok(None) };
            if std::path::Path::new(&format!("/proc/{pid}/root{}/mounted", directory.display())).exists() {
                return Ok(Some(Self::InMemory { holder: Box::new(holder), directory }));
            }
            if holder.try_wait()?.is_some() || Instant::now() > until {
                return Ok(None);
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::InMemory { .. } => "a disk of 24 MiB was full",
            Self::Limit => "a file could not grow (for a disk that is full, run as root)",
        }
    }

    async fn serve(&self, ground: &Ground) -> anyhow::Result<Instance> {
        let mut instance = match self {
            Self::InMemory { holder, directory } => {
                let pid = holder.id().context("the disk is gone")?.to_string();
                let path = directory.join("store.redb").display().to_string();
                let join = ["nsenter", "--mount", "--target", &pid, "--"];
                ground.spawn_by(&join, StoreChoice::Embedded, &[("store.path", &path)])?
            }
            // SIGXFSZ would end the instance; ignored, writes fail instead.
            Self::Limit => {
                let shell = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
                ground.spawn_by(&shell, StoreChoice::Embedded, &[])?
            }
        };
        instance.wait_until_ready().await?;
        Ok(instance)
    }

    /// Fills the disk.
    async fn fill(&self, instance: &Instance) -> anyhow::Result<()> {
        match self {
            Self::InMemory { .. } => {
                let path = self.filler()?;
                let filled = tokio::task::spawn_blocking(move || {
                    use std::io::Write;
                    let mut file = std::fs::File::create(path)?;
                    let block = [1_u8; 65_536];
                    loop {
                        if let Err(error) = file.write_all(&block) {
                            return match error.kind() {
                                std::io::ErrorKind::StorageFull => Ok(()),
                                _ => Err(error),
                            };
                        }
                    }
                });
                Ok(filled.await??)
            }
            Self::Limit => {
                let log = std::fs::metadata(instance.log_path())?.len();
                let store = instance.log_path().with_file_name("store.redb");
                // Logging has to go on below the limit.
                let size = std::fs::metadata(store)?.len().max(log + (1 << 18));
                limit(instance, &format!("{size}:unlimited")).await
            }
        }
    }

    async fn make_room(&self, instance: &Instance) -> anyhow::Result<()> {
        match self {
            Self::InMemory { .. } => Ok(std::fs::remove_file(self.filler()?)?),
            Self::Limit => limit(instance, "unlimited:unlimited").await,
        }
    }

    /// The path, outside the namespace, of the file that fills the disk.
    fn filler(&self) -> anyhow::Result<PathBuf> {
        let Self::InMemory { holder, directory } = self else { anyhow::bail!("there is no such disk") };
        let pid = holder.id().context("the disk is gone")?;
        Ok(PathBuf::from(format!("/proc/{pid}/root{}/filler", directory.display())))
    }
}

/// Limits the size of the instance's files.
async fn limit(instance: &Instance, size: &str) -> anyhow::Result<()> {
    let pid = instance.pid().context("the instance has ended")?.to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={size}")]).status().await?;
    ensure!(status.success(), "prlimit ended with {status}");
    Ok(())
}
