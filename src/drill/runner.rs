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
    /// Its name for `--only`.
    pub name: &'static str,
    /// What it does, in a line.
    pub what: &'static str,
    pub(crate) needs: Needs,
    pub(super) run: fn(Arc<Ground>) -> BoxFuture<'static, anyhow::Result<Findings>>,
}

/// Why a drill cannot be done on this machine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct LeftOut(pub(super) &'static str);

/// How a drill went.
#[derive(Debug)]
pub enum DrillOutcome {
    /// It was done.
    Done(Findings),
    /// It could not be completed, with the reason.
    Broken(String),
    /// It was left out, with the reason.
    Skipped(&'static str),
}

impl DrillOutcome {
    /// Whether both promises held; a drill that was left out breaks none.
    pub(crate) fn holds(&self) -> bool {
        match self {
            Self::Done(findings) => findings.hold(),
            Self::Broken(_) => false,
            Self::Skipped(_) => true,
        }
    }
}

/// Checks that these drills have the Docker, image and Redis that they need. The error says what to do about it.
pub(crate) async fn check(options: &Options, drills: &[&Drill]) -> anyhow::Result<()> {
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

/// Runs one drill and cleans up after it, however it ended. If the future is dropped, containers may be left, and the
/// caller has to clear the ground.
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
