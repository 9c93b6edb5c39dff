//! `sandglass demo`: shows the promise with real containers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{
    args::Demo,
    screen::{Row, Screen},
    serve::Signals,
};
use crate::{
    app::{Adapters, App},
    config::{Overrides, Settings, process_environment},
    domain::SandboxId,
    ports::runtime::{ContainerRef, Owner, Runtime},
};

/// The Docker client's variables. The demonstration reads no others.
const ENGINE: [&str; 4] = ["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG"];

const NAMES: [&str; 3] = ["ann", "ben", "cleo"];
/// The sandbox that is pinged.
const USED: &str = NAMES[2];
const IDLE_TIMEOUT: f64 = 5.0;
const PINGED_FOR: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the demonstration may take.
const AT_MOST: Duration = Duration::from_secs(32);
/// How late an end may be on a busy machine, in seconds.
const LATE: f64 = 1.0;

/// The demonstration ran, and something went wrong.
#[derive(Debug, thiserror::Error)]
#[error("it did not go as told: {0}")]
pub(super) struct NotAsTold(String);

/// The demonstration could not begin.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CannotStart(String);

/// A sandbox in the interface's answers.
#[derive(Clone, Debug, Deserialize)]
struct Seen {
    status: String,
    reason: Option<String>,
    last_activity_at: f64,
    idle_remaining: Option<f64>,
    ended_at: Option<f64>,
}

/// A separate instance with its own port, store and label.
struct Stage {
    app: App,
    runtime: Arc<dyn Runtime>,
    directory: PathBuf,
    client: reqwest::Client,
    url: String,
}

/// Runs the demonstration and cleans up, however it ends.
pub(super) async fn demo(args: Demo) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut screen = Screen::new();
    let stage = Stage::set(&args).await?;
    screen.say(&format!("Sandglass runs on {} with a store of its own.", stage.url));
    let told = tokio::select! {
        told = stage.tell(&mut screen) => told,
        signal = signals.next() => Err(CannotStart(format!("stopped by {signal}")).into()),
    };
    screen.say("Cleaning up.");
    let cleaned = stage.clear().await;
    told?;
    cleaned?;
    screen.say(
        "As told: unused sandboxes ended to the second, the used one lived until its pings stopped. Nothing is left.",
    );
    Ok(())
}

impl Stage {
    async fn set(args: &Demo) -> anyhow::Result<Self> {
        let process = std::process::id();
        let directory = std::env::temp_dir().join(format!("sandglass-demo-{process}"));
        let mut overrides = Overrides::default();
        let path = directory.join("demo.redb");
        for (key, value) in [
            ("http.bind", "127.0.0.1:0".to_owned()),
            ("store.kind", "embedded".to_owned()),
            ("store.path", path.display().to_string()),
            ("store.prefix", format!("sandglass-demo-{process}")),
            ("docker.stop_grace", "1".to_owned()),
        ] {
            overrides.set(key, value, "the demonstration");
        }
        if let Some(image) = &args.image {
            overrides.set("templates.base.image", image, "--image");
        }
        let engine = process_environment().filter(|(name, _)| ENGINE.contains(&name.as_str()));
        let mut settings = Settings::load(None, engine, overrides)?;
        let listener = App::listen(&mut settings)?;
        let adapters = Adapters::from_settings(&settings)?;
        let runtime = adapters.runtime.clone();
        runtime.check().await.map_err(|error| {
            CannotStart(format!(
                "{error}; start Docker first, or run `make demo`, which sets it up on Debian and Ubuntu"
            ))
        })?;
        let app = App::new(settings, adapters, listener).await?;
        let url = format!("http://{}", app.address());
        Ok(Self { app, runtime, directory, client: reqwest::Client::new(), url })
    }

    async fn tell(&self, screen: &mut Screen) -> anyhow::Result<()> {
        screen.say(&format!("Creating three sandboxes; each may go unused for {IDLE_TIMEOUT} s."));
        for created in join_all(NAMES.iter().map(|name| self.create(name))).await {
            created?;
        }
        let seconds = PINGED_FOR.as_secs();
        screen.say(&format!(
            "{USED} is pinged every second for {seconds} s, {} and {} are left alone.",
            NAMES[0], NAMES[1]
        ));
        let seen = self.watch(screen).await?;
        check(&seen)?;
        for (name, seen) in NAMES.iter().zip(&seen) {
            let late = seen.lateness().unwrap_or_default() * 1000.0;
            screen.say(&format!("  {name:<5} ended {IDLE_TIMEOUT} s after it was last used, {late:.1} ms late"));
        }
        Ok(())
    }

    async fn create(&self, name: &str) -> anyhow::Result<()> {
        let body = json!({ "id": id_of(name), "idle_timeout": IDLE_TIMEOUT, "metadata": { "demo": true } });
        let answer = self.client.post(format!("{}/v1/sandboxes", self.url)).body(body.to_string()).send().await?;
        if answer.status().is_success() {
            return Ok(());
        }
        let text = answer.text().await?;
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let problem = answer["error"]["message"].as_str().unwrap_or(&text);
        Err(CannotStart(format!("{name} could not be created: {problem}")).into())
    }

    async fn look(&self, name: &str) -> anyhow::Result<Seen> {
        let answer = self.client.get(format!("{}/v1/sandboxes/{}", self.url, id_of(name))).send().await?;
        let text = answer.text().await?;
        serde_json::from_str(&text).with_context(|| format!("failed to read the answer {text}"))
    }

    async fn ping(&self) -> anyhow::Result<bool> {
        let answer = self.client.post(format!("{}/v1/sandboxes/{}/activity", self.url, id_of(USED))).send().await?;
        Ok(answer.status().is_success())
    }

    /// Shows the sandboxes and pings one of them, until all have ended.
    async fn watch(&self, screen: &mut Screen) -> anyhow::Result<Vec<Seen>> {
        let began = Instant::now();
        let (mut pings, mut looks) = (0, tokio::time::interval(LOOK_EVERY));
        loop {
            looks.tick().await;
            let passed = began.elapsed();
            let due = passed.as_secs().min(PINGED_FOR.as_secs()) + 1;
            if passed < PINGED_FOR && pings < due {
                pings = due;
                if !self.ping().await? {
                    return Err(NotAsTold(format!("a ping of {USED} was refused while it was in use")).into());
                }
                screen.log(passed.as_secs_f64(), &format!("{USED} is pinged"));
            }
            let mut seen = Vec::with_capacity(NAMES.len());
            for name in NAMES {
                seen.push(self.look(name).await?);
            }
            let rows: Vec<_> = NAMES.iter().zip(&seen).map(|(name, seen)| seen.row(name)).collect();
            screen.draw(passed.as_secs_f64(), &rows);
            if seen.iter().all(Seen::is_gone) {
                return Ok(seen);
            }
            if passed > AT_MOST {
                return Err(NotAsTold(format!("after {} s not all have ended", AT_MOST.as_secs())).into());
            }
        }
    }

    /// Ends the sandboxes that live, checks that no container is left, and removes the store.
    async fn clear(self) -> anyhow::Result<()> {
        let supervisor = self.app.supervisor().clone();
        let mut left = Vec::new();
        for name in NAMES {
            let id = SandboxId::parse(&id_of(name))?;
            // It may be unknown or gone.
            let _ = supervisor.terminate(&id, Duration::from_secs(15)).await;
            let container = ContainerRef::by_labels(id, Owner::Sandglass);
            if self.runtime.inspect(&container).await?.is_some() {
                left.push(name);
            }
        }
        self.app.shutdown().await;
        if !left.is_empty() {
            return Err(NotAsTold(format!("containers are left of {}", left.join(", "))).into());
        }
        std::fs::remove_dir_all(&self.directory)
            .with_context(|| format!("failed to remove {}", self.directory.display()))
    }
}

/// Container names contain the id, so ids must not clash with other demonstrations or users' sandboxes.
fn id_of(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

impl Seen {
    fn is_gone(&self) -> bool {
        self.status == "terminated" || self.status == "failed"
    }

    fn lateness(&self) -> Option<f64> {
        self.ended_at.map(|ended| ended - (self.last_activity_at + IDLE_TIMEOUT))
    }

    fn row(&self, name: &str) -> Row {
        let left = self.idle_remaining.unwrap_or(0.0);
        let note = match &self.reason {
            Some(reason) => format!("reason: {reason}"),
            None => format!("{left:.1} s left"),
        };
        Row { name: name.to_owned(), status: self.status.clone(), left: left / IDLE_TIMEOUT, note }
    }
}

fn check(seen: &[Seen]) -> Result<(), NotAsTold> {
    for (name, seen) in NAMES.iter().zip(seen) {
        let lateness = seen.lateness().ok_or_else(|| NotAsTold(format!("{name} has no end")))?;
        if seen.reason.as_deref() != Some("idle") {
            return Err(NotAsTold(format!("{name} ended for the reason {:?}", seen.reason)));
        }
        // Times in answers are floats: a microsecond is within their rounding.
        if !(-1e-6..=LATE).contains(&lateness) {
            return Err(NotAsTold(format!("{name} ended {lateness:.3} s after its deadline")));
        }
    }
    let (unused, used) = (seen[0].ended_at.unwrap_or_default(), seen[2].ended_at.unwrap_or_default());
    let outlived = used - unused;
    let least = PINGED_FOR.as_secs_f64() - 2.0;
    if outlived < least {
        return Err(NotAsTold(format!("{USED} outlived the others by {outlived:.1} s only")));
    }
    Ok(())
}
