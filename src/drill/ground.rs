//! Where a drill takes place: a directory, a prefix, names and containers of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use tokio::time::{Instant, sleep};

use super::{
    findings::Findings,
    hand::{Hand, other},
    instance::Instance,
    ledger::Ledger,
    options::{Needs, Options, Pace},
};
use crate::domain::SandboxId;

/// How long containers may be left when everything that was promised has ended.
const LEFT_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Whom to tell how far a drill is.
pub(super) type Say = Box<dyn Fn(&str) + Send + Sync>;

/// Which store an instance is started on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// The file in the drill's own directory.
    Embedded,
    /// The configured Redis.
    Redis,
}

/// One drill's own place. Everything in it carries its prefix, and goes with [`Ground::clear`].
///
/// Starting an instance fails when the program cannot be started, or does not become ready where that is waited for.
pub struct Ground {
    /// What was asked for.
    pub options: Options,
    /// The prefix of its instances: their containers' label, and the beginning of their keys.
    pub prefix: String,
    directory: PathBuf,
    hand: Hand,
    say: Say,
}

impl Ground {
    /// A new place. Docker need not answer yet.
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

    /// Its directory, removed at the end.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Docker by hand, behind the instances' backs.
    pub fn hand(&self) -> &Hand {
        &self.hand
    }

    /// Tells how far the drill is.
    pub fn say(&self, text: impl AsRef<str>) {
        (self.say)(text.as_ref());
    }

    /// `rounds` of something, or a tenth of them at the quick pace, at least one.
    pub fn rounds(&self, rounds: usize) -> usize {
        match self.options.pace {
            Pace::Full => rounds,
            Pace::Quick => (rounds / 10).max(1),
        }
    }

    /// How long an outage takes: a minute, or a tenth of it at the quick pace.
    pub fn outage(&self) -> Duration {
        match self.options.pace {
            Pace::Full => Duration::from_secs(60),
            Pace::Quick => Duration::from_secs(6),
        }
    }

    /// The store to drill on when one is enough: Redis where there is one.
    pub fn store(&self) -> StoreChoice {
        if self.options.redis_url.is_some() { StoreChoice::Redis } else { StoreChoice::Embedded }
    }

    /// A second prefix on the same Docker and the same Redis, cleared like the first.
    pub fn other_prefix(&self) -> String {
        other(&self.prefix)
    }

    /// An id that no other drill on this Docker has: names of containers are shared by all.
    pub fn id(&self, name: &str) -> String {
        format!("{name}-{}", &self.prefix[self.prefix.len() - 8..])
    }

    /// Starts an instance on [`Ground::store`] and waits until it is ready. `settings` are keys and values as `--set` has
    /// them; they win over the drill's own: short graces, and times in which a drill is done.
    pub async fn serve(&self, settings: &[(&str, &str)]) -> anyhow::Result<Instance> {
        self.serve_on(self.store(), settings).await
    }

    /// The same on a store of choice.
    pub async fn serve_on(&self, store: StoreChoice, settings: &[(&str, &str)]) -> anyhow::Result<Instance> {
        let mut instance = self.spawn_on(store, settings)?;
        instance.wait_until_ready().await?;
        Ok(instance)
    }

    /// Starts an instance and waits for nothing.
    pub fn spawn_on(&self, store: StoreChoice, settings: &[(&str, &str)]) -> anyhow::Result<Instance> {
        self.spawn_by(&[], store, settings)
    }

    /// The same by way of another program, which gets the instance's command line after its own and becomes it.
    pub fn spawn_by(
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
        // What it puts beside its store, the lock of its prefix, goes with the directory. Ctrl-C is for the drill alone,
        // which ends its instances itself.
        command.env("TMPDIR", &self.directory).process_group(0);
        Instance::spawn(command, &self.directory)
    }

    /// Waits until every sandbox of the ledger has ended, stops the instance cleanly, looks for what is left, and judges.
    pub async fn settle(
        &self,
        instance: Instance,
        ledger: &Ledger,
        within: Duration,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        ledger.settle(&instance, within, findings).await?;
        // Beside those there may be some whose create was never answered, and what an engine has made of a request that
        // was cut off. They have an owner, or the next comparisons with the engine find them.
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

    /// Removes whatever is left: containers by their ids, keys in Redis, the directory. What a drill has no `needs` of, it
    /// has not touched.
    ///
    /// # Errors
    /// When something could not be removed, with what it is.
    pub async fn clear(&self, needs: Needs) -> anyhow::Result<()> {
        // Each of them, also when another one fails.
        let mut cleared = Vec::new();
        if needs != Needs::Nothing {
            cleared.push(self.hand.clear().await);
            cleared.push(self.clear_redis().await.context("failed to remove the drill's keys from Redis"));
        }
        cleared.push(match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove {}", self.directory.display()))
            }
            _ => Ok(()),
        });
        cleared.into_iter().collect()
    }

    async fn clear_redis(&self) -> anyhow::Result<()> {
        let Some(url) = &self.options.redis_url else { return Ok(()) };
        for prefix in [&self.prefix, &other(&self.prefix)] {
            clear_redis(url, prefix).await?;
        }
        Ok(())
    }
}

/// Removes every key of this prefix, and no other.
pub(super) async fn clear_redis(url: &str, prefix: &str) -> anyhow::Result<()> {
    let mut connection = ::redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    for pattern in [format!("{prefix}:*"), format!("{prefix}-session:*")] {
        let mut cursor = 0_u64;
        loop {
            let (next, keys): (u64, Vec<Vec<u8>>) = ::redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(1000)
                .query_async(&mut connection)
                .await?;
            if !keys.is_empty() {
                ::redis::cmd("DEL").arg(keys).query_async::<()>(&mut connection).await?;
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(())
}
