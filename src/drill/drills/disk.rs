//! The disk is full under the embedded store. It says so, pings go on, nothing is lost, and with room again everything goes
//! on by itself.

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    clock::wall_seconds,
    drill::{
        findings::Findings,
        ground::{Ground, StoreChoice},
        instance::Instance,
        ledger::Ledger,
        runner::LeftOut,
    },
};

const LONG: u64 = 600;
const SHORT: Duration = Duration::from_secs(4);
/// Of the disk in memory; what is not the store's is taken by the drill.
const SIZE: &str = "size=24m";
/// What a create writes at least, so that it needs room: almost as much as metadata may have.
const PADDING: usize = 60_000;
const CREATES: usize = 40;
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
const GONE_WITHIN: Duration = Duration::from_secs(120);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let disk = Disk::new(&ground).await?;
    let (ledger, mut findings) = (Ledger::default(), Findings::default());
    let instance = disk.serve(&ground).await?;
    let used: Vec<_> = (0..3).map(|number| ground.id(&format!("used-{number}"))).collect();
    for id in &used {
        ledger.must_create(&instance, &json!({ "id": id, "idle_timeout": LONG })).await?;
        ledger.allow(id, &["requested"]);
    }
    let due = ground.id("due");
    ledger.must_create(&instance, &json!({ "id": due, "idle_timeout": LONG })).await?;

    ground.say("filling the disk");
    disk.fill(&instance).await?;
    let padding = "x".repeat(PADDING);
    let mut padded = Vec::new();
    let refused = loop {
        ensure!(padded.len() < CREATES, "{CREATES} creates fit on a disk that is full");
        let id = ground.id(&format!("padded-{}", padded.len()));
        let body = json!({ "id": id, "idle_timeout": LONG, "metadata": { "padding": padding } });
        let answer = ledger.create(&instance, &body).await?;
        if answer.status != 201 {
            break answer;
        }
        ledger.allow(&id, &["requested"]);
        padded.push(id);
    };
    findings.expect(refused.status == 503 && refused.code() == "store_unavailable", || {
        format!("a create on a full disk was answered with {}: {}", refused.status, refused.body)
    });
    let says = refused.body["error"]["message"].as_str().unwrap_or_default();
    findings.expect(says.contains("make room"), || format!("the refusal does not say what to do: {says}"));
    instance.until_without(Some("store"), NOTICED_WITHIN).await?;
    let pinged = ledger.ping_all(&instance, &used).await?;
    findings.expect(pinged == used.len(), || format!("{pinged} of {} pings were acknowledged", used.len()));
    ledger.allow(&due, &["requested"]);
    let deleted = instance.delete(&format!("/v1/sandboxes/{due}")).await?;
    findings.expect(deleted.status == 202, || format!("a delete on a full disk was answered with {}", deleted.body));
    sleep(SHORT).await;
    let waits = instance.get(&format!("/v1/sandboxes/{due}")).await?.body;
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
    ledger.must_create(&instance, &json!({ "id": short, "idle_timeout": SHORT.as_secs() })).await?;
    instance.kill().await?;

    let instance = disk.serve(&ground).await?;
    for id in used.iter().chain(&padded) {
        let back = instance.get(&format!("/v1/sandboxes/{id}")).await?;
        findings.lost += usize::from(back.status == 404);
        let back = back.body;
        let (has, promised) = (back["idle_deadline"].as_f64(), ledger.deadline(id));
        let kept = back["status"] == "running" && has.zip(promised).is_some_and(|(has, told)| has >= told - 1e-6);
        findings.expect(kept, || format!("{id} was promised {promised:?}, and is {back} after kill -9"));
        instance.delete(&format!("/v1/sandboxes/{id}?wait=30")).await?;
    }
    ledger.ping(&instance, &short).await?;
    findings.done = format!("{} with the embedded store on it, and {} pings", disk.what(), used.len());
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

/// A disk that can be full.
enum Disk {
    /// In memory, mounted where only the holder and those who join it see it; needs root. It goes with the holder.
    InMemory { holder: Box<Child>, directory: PathBuf },
    /// The file may not grow: what anybody can do to a process of theirs.
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

    /// `None` where it may not be mounted.
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
            // The signal that comes with the limit would end it: what is meant is the error.
            Self::Limit => {
                let shell = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
                ground.spawn_by(&shell, StoreChoice::Embedded, &[])?
            }
        };
        instance.wait_until_ready().await?;
        Ok(instance)
    }

    /// Nothing more can be written.
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
                // The log has to go on, and is the smaller one.
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

    /// The file that takes the room, as it is seen from outside.
    fn filler(&self) -> anyhow::Result<PathBuf> {
        let Self::InMemory { holder, directory } = self else { anyhow::bail!("there is no such disk") };
        let pid = holder.id().context("the disk is gone")?;
        Ok(PathBuf::from(format!("/proc/{pid}/root{}/filler", directory.display())))
    }
}

/// How long files of the instance may become.
async fn limit(instance: &Instance, size: &str) -> anyhow::Result<()> {
    let pid = instance.pid().context("the instance has ended")?.to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={size}")]).status().await?;
    ensure!(status.success(), "prlimit ended with {status}");
    Ok(())
}
