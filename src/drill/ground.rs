//! The place of one drill: its directory, prefix, names and containers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ::redis::AsyncCommands;
use anyhow::Context;
use futures_util::TryStreamExt;
use tokio::time::{Instant, sleep};

use super::{
    findings::Findings,
    hand::{Hand, other},
    instance::Instance,
    ledger::Ledger,
    options::{Needs, Options, Pace},
};
use crate::domain::SandboxId;

/// How long containers may outlive the last end that clients were promised.
const LEFT_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Reports a drill's progress.
pub(super) type Say = Box<dyn Fn(&str) + Send + Sync>;

/// Which store an instance is started on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreChoice {
    /// The file in the drill's own directory.
    Embedded,
    /// The configured Redis.
    Redis,
}

/// The place of one drill. Everything in it carries its prefix and is removed by `clear`.
pub struct Ground {
    pub(super) options: Options,
    /// `store.prefix` of its instances.
    pub(super) prefix: String,
    directory: PathBuf,
    hand: Hand,
    say: Say,
}

impl Ground {
    /// Makes the directory; Docker need not answer yet. `say` is told of the drill's progress.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(options: Options, say: Say) -> anyhow::Result<Self> {
        let prefix = format!("drill-{}", SandboxId::generate());
        let hand = Hand::new(&options, &prefix);
        let directory = std::env::temp_dir().join(&prefix);
        std::fs::create_dir(&directory).with_context(|| format!("failed to make {}", directory.display()))?;
        Ok(Self { options, prefix, directory, hand, say })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn hand(&self) -> &Hand {
        &self.hand
    }

    /// Reports how far the drill is.
    pub(super) fn say(&self, text: impl AsRef<str>) {
        (self.say)(text.as_ref());
    }

    /// `rounds`, or a tenth of them at the quick pace, at least one.
    pub(super) fn rounds(&self, rounds: usize) -> usize {
        match self.options.pace {
            Pace::Full => rounds,
            Pace::Quick => (rounds / 10).max(1),
        }
    }

    /// How long an outage takes.
    pub(super) fn outage(&self) -> Duration {
        match self.options.pace {
            Pace::Full => Duration::from_secs(60),
            Pace::Quick => Duration::from_secs(6),
        }
    }

    /// The store of drills that need only one: Redis where it is configured.
    pub(super) fn store(&self) -> StoreChoice {
        if self.options.redis_url.is_some() { StoreChoice::Redis } else { StoreChoice::Embedded }
    }

    /// A second prefix on the same Docker and the same Redis, cleared like the first.
    pub(super) fn other_prefix(&self) -> String {
        other(&self.prefix)
    }

    /// An id that no other drill on this Docker uses, since containers' names must be unique there.
    pub(super) fn id(&self, name: &str) -> String {
        format!("{name}-{}", &self.prefix[self.prefix.len() - 8..])
    }

    /// Starts an instance on [`Ground::store`] and waits until it is ready. `settings`, as for `--set`, override those of all
    /// drills, which shorten graces and intervals.
    pub(super) async fn serve(&self, settings: &[(&str, &str)]) -> anyhow::Result<Instance> {
        self.serve_on(self.store(), settings).await
    }

    pub(super) async fn serve_on(&self, store: StoreChoice, settings: &[(&str, &str)]) -> anyhow::Result<Instance> {
        let mut instance = self.spawn_on(store, settings)?;
        instance.wait_until_ready().await?;
        Ok(instance)
    }

    /// Starts an instance without waiting until it is ready.
    pub(super) fn spawn_on(&self, store: StoreChoice, settings: &[(&str, &str)]) -> anyhow::Result<Instance> {
        self.spawn_by(&[], store, settings)
    }

    /// Starts an instance through `wrapper`, a command that executes the arguments after its own.
    pub(super) fn spawn_by(
        &self,
        wrapper: &[&str],
        store: StoreChoice,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Instance> {
        let path = self.directory.join("store.redb").display().to_string();
        let mut all = vec![
            ("http.bind", "127.0.0.1:0"),
            ("store.prefix", &self.prefix),
            ("docker.host", &self.options.docker_host),
            ("docker.stop_grace", "1"),
            ("docker.orphan_grace", "5"),
            ("docker.reconcile_interval", "5"),
            ("lifecycle.restart_grace", "1"),
            ("lifecycle.sweep_interval", "2"),
            ("store.lease_ttl", "3"),
            ("templates.base.image", &self.options.image),
            ("log.level", "info,sandglass=debug"),
        ];
        match (store, &self.options.redis_url) {
            (StoreChoice::Redis, Some(url)) => all.extend([("store.kind", "redis"), ("store.redis_url", url)]),
            (StoreChoice::Redis, None) => anyhow::bail!("there is no Redis to drill on"),
            (StoreChoice::Embedded, _) => all.extend([("store.kind", "embedded"), ("store.path", &path)]),
        }
        all.extend(settings);
        let mut command = Instance::command(wrapper, &self.options.program);
        command.arg("serve");
        for (key, value) in all {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        // The lock of its prefix is in TMPDIR and goes with the directory. In a process group of its own it does not get the
        // terminal's Ctrl-C, on which the drill itself ends its instances.
        command.env("TMPDIR", &self.directory).process_group(0);
        Instance::spawn(command, &self.directory)
    }

    /// Waits until every sandbox of the ledger has ended, counts the containers that are left, and stops the instance.
    pub(super) async fn settle(
        &self,
        instance: Instance,
        ledger: &Ledger,
        within: Duration,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        ledger.settle(&instance, within, findings).await?;
        // Creates that were never answered, and requests that were cut off, may have left containers. The instance ends
        // them at their deadlines or in its next comparisons with the engine.
        let until = Instant::now() + LEFT_WITHIN;
        while !self.hand.containers().await?.is_empty() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
        for container in self.hand.containers().await? {
            findings.leaked += 1;
            findings.wrong(format!("{} is left", self.hand.describe(&container).await?));
        }
        instance.stop().await
    }

    /// Removes the drill's containers, its keys in Redis and its directory. Docker and Redis are left alone by drills that
    /// need neither. The error says what could not be removed.
    pub(crate) async fn clear(&self, needs: Needs) -> anyhow::Result<()> {
        // A failure of one does not keep the others from being removed.
        let mut cleared = Vec::new();
        if needs != Needs::Nothing {
            cleared.push(self.hand.clear().await);
            if let Some(url) = &self.options.redis_url {
                for prefix in [&self.prefix, &self.other_prefix()] {
                    let removed = clear_redis(url, prefix).await;
                    cleared.push(removed.context("failed to remove the drill's keys from Redis"));
                }
            }
        }
        cleared.push(match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove {}", self.directory.display()))
            }
            _ => Ok(()),
        });
        cleared.into_iter().collect()
    }
}

/// Removes every key of this prefix, and no other.
pub(super) async fn clear_redis(url: &str, prefix: &str) -> anyhow::Result<()> {
    let mut connection = ::redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    for pattern in [format!("{prefix}:*"), format!("{prefix}-session:*")] {
        let options = ::redis::ScanOptions::default().with_pattern(pattern).with_count(1000);
        let found = connection.scan_options::<Vec<u8>>(options).await?;
        let keys: Vec<Vec<u8>> = found.try_collect().await?;
        if !keys.is_empty() {
            connection.del::<_, ()>(keys).await?;
        }
    }
    Ok(())
}
