//! Runs drills, one at a time.

use std::sync::Arc;

use anyhow::Context;
use futures_util::future::BoxFuture;

use super::{
    findings::Findings,
    ground::Ground,
    hand::Hand,
    options::{Needs, Options},
};

/// One drill.
pub struct Drill {
    /// How it is called with `--only`.
    pub name: &'static str,
    /// What is done, in a line.
    pub what: &'static str,
    /// What it cannot do without.
    pub needs: Needs,
    /// Does it.
    pub run: fn(Arc<Ground>) -> BoxFuture<'static, anyhow::Result<Findings>>,
}

/// A drill that cannot be done here, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LeftOut(pub &'static str);

/// How a drill went.
#[derive(Debug)]
pub enum DrillOutcome {
    /// It was done.
    Done(Findings),
    /// It could not be begun or ended.
    Broken(String),
    /// It was left out.
    Skipped(&'static str),
}

impl DrillOutcome {
    /// Whether both promises were kept; what was left out breaks none.
    pub fn holds(&self) -> bool {
        match self {
            Self::Done(findings) => findings.hold(),
            Self::Broken(_) => false,
            Self::Skipped(_) => true,
        }
    }
}

/// Checks that what these drills need is there, before any of them begins.
///
/// # Errors
/// What is missing, in a sentence that says what to do about it.
pub async fn check(options: &Options, drills: &[&Drill]) -> anyhow::Result<()> {
    if drills.iter().all(|drill| drill.needs == Needs::Nothing) {
        return Ok(());
    }
    let host = &options.docker_host;
    anyhow::ensure!(
        !host.starts_with("https://"),
        "a relay stands between the drills and Docker, and does not speak TLS: drill on the engine's own host"
    );
    Hand::new(options, "").check().await.with_context(|| format!("cannot drill on Docker at {host}"))?;
    if let Some(url) = &options.redis_url {
        let answers = async {
            let mut connection = ::redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
            ::redis::cmd("PING").query_async::<()>(&mut connection).await
        };
        answers.await.context("the Redis does not answer: start it, or drill without it")?;
    }
    Ok(())
}

/// Runs one drill and cleans up after it, however it ended. `say` is told how far it is. Dropping this in the middle
/// leaves instances and containers: [`Ground::clear`] is for whoever does.
pub async fn run(drill: &Drill, ground: Arc<Ground>) -> DrillOutcome {
    if drill.needs == Needs::Redis && ground.options.redis_url.is_none() {
        return match ground.clear(Needs::Nothing).await {
            Ok(()) => DrillOutcome::Skipped("needs a Redis: give --redis-url"),
            Err(error) => DrillOutcome::Broken(format!("{error:#}")),
        };
    }
    let done = (drill.run)(ground.clone()).await;
    let cleared = ground.clear(drill.needs).await;
    match (done, cleared) {
        (Ok(findings), Ok(())) => DrillOutcome::Done(findings),
        (Err(error), Ok(())) if error.is::<LeftOut>() => {
            DrillOutcome::Skipped(error.downcast_ref().map_or("", |LeftOut(why)| why))
        }
        (Err(error), _) | (Ok(_), Err(error)) => DrillOutcome::Broken(format!("{error:#}")),
    }
}
