//! `sandglass drill`: breaks things on purpose, on the user's own machine, and counts what was lost by it.
//!
//! Each drill in [`drills`] starts throw-away instances of this very program ([`Instance`]) on a prefix of its own
//! ([`Ground`]), puts a [`Relay`] between them and Docker or Redis where those have to fail, and does things to containers
//! behind their backs ([`Hand`]). What has to be restarted or killed is an engine of the drill's own ([`OwnEngine`]). A few need thousands of sandboxes, and have a supervisor over memory in this very process
//! ([`mod@bench`]). What clients were promised is kept apart from Sandglass ([`Ledger`]); at the end, the
//! drill's [`Findings`] say how often that was broken. Nothing is touched that the drill did not start.

mod bench;
mod clients;
mod drills;
mod findings;
mod ground;
mod hand;
mod instance;
mod ledger;
mod own_engine;
mod relay;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use futures_util::future::BoxFuture;

pub use self::{
    drills::DRILLS,
    findings::{Findings, Lateness},
    ground::{Ground, StoreChoice},
    hand::Hand,
    instance::{Answer, Instance},
    ledger::{Ledger, Settled},
    own_engine::{HOW_TO_GET_ONE, OwnEngine},
    relay::{Fault, Relay},
};

/// What the drills run on.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program to start, with `serve`.
    pub program: PathBuf,
    /// The image of the containers; it has to have `sleep` and `sh`.
    pub image: String,
    /// Docker's address, as `docker.host` has it.
    pub docker_host: String,
    /// The Redis whose keys under a prefix of the drills' own may be written; `None`: an embedded file, and what is about
    /// Redis is left out.
    pub redis_url: Option<String>,
    /// How much of everything.
    pub pace: Pace,
}

/// How much of everything a drill does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As many rounds as the promise is tested with, outages of a minute.
    Full,
    /// A tenth of both.
    Quick,
}

/// What a drill cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Docker, and one store or the other.
    Docker,
    /// A Redis too.
    Redis,
    /// Nothing outside of the program.
    Nothing,
}

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
pub enum Outcome {
    /// It was done.
    Done(Findings),
    /// It could not be begun or ended.
    Broken(String),
    /// It was left out.
    Skipped(&'static str),
}

impl Outcome {
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
pub async fn run(drill: &Drill, ground: Arc<Ground>) -> Outcome {
    if drill.needs == Needs::Redis && ground.options.redis_url.is_none() {
        return match ground.clear(Needs::Nothing).await {
            Ok(()) => Outcome::Skipped("needs a Redis: give --redis-url"),
            Err(error) => Outcome::Broken(format!("{error:#}")),
        };
    }
    let done = (drill.run)(ground.clone()).await;
    let cleared = ground.clear(drill.needs).await;
    match (done, cleared) {
        (Ok(findings), Ok(())) => Outcome::Done(findings),
        (Err(error), Ok(())) if error.is::<LeftOut>() => {
            Outcome::Skipped(error.downcast_ref().map_or("", |LeftOut(why)| why))
        }
        (Err(error), _) | (Ok(_), Err(error)) => Outcome::Broken(format!("{error:#}")),
    }
}
