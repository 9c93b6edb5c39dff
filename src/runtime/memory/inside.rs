//! The port [`Inside`] in memory: each container has an agent of its own, which runs in this process, and so works on this
//! machine. Only tests ask for that ([`Memory::with_agents`]).

use std::{future::ready, io, time::Duration};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    Memory,
    containers::Look,
    faults::{Point, When},
};
use crate::{
    domain::sandbox::Container as State,
    ports::{
        inside::{Connection, Inside, InsideError, Load, Output, OutputQuery, OutputStream},
        runtime::{ContainerRef, RuntimeError},
    },
};

/// How much of a connection is under way.
const UNDER_WAY: usize = 64 * 1024;
/// How often a connection looks whether its container runs.
const LOOK: Duration = Duration::from_millis(20);

impl Memory {
    /// The id of a container that runs.
    fn running(&self, container: &ContainerRef) -> Result<String, InsideError> {
        let containers = self.containers();
        containers.must_be_up().map_err(|error| InsideError::Unreachable(error.to_string()))?;
        match containers.look(container) {
            Look::Ours(id, entry) if entry.state == State::Running => Ok(id),
            Look::Ours(_, entry) if entry.state == State::Paused => {
                Err(InsideError::NotRunning("it is paused".to_owned()))
            }
            Look::Ours(..) => Err(InsideError::NotRunning("it has ended".to_owned())),
            Look::Foreign | Look::Missing => Err(InsideError::NotRunning("there is none".to_owned())),
        }
    }

    /// Passes on what comes, as long as no fault at [`Point::Wire`] keeps it.
    async fn pass_on(&self, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut piece = vec![0; UNDER_WAY];
        loop {
            let length = from.read(&mut piece).await?;
            if length == 0 {
                return Ok(());
            }
            for when in [When::Before, When::After] {
                self.faults().pass(Point::Wire, when).await.map_err(io::Error::other)?;
            }
            to.write_all(&piece[..length]).await?;
        }
    }

    /// Resolves when the container has ended.
    async fn has_ended(&self, id: &str) {
        let lives = || {
            let containers = self.containers();
            containers.get(id).is_some_and(|entry| matches!(entry.state, State::Running | State::Paused))
        };
        while lives() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn failed(error: RuntimeError) -> InsideError {
    match error {
        RuntimeError::Unreachable(message) => InsideError::Unreachable(message),
        error => InsideError::Failed(error.to_string()),
    }
}

#[async_trait]
impl Inside for Memory {
    async fn dial(&self, container: &ContainerRef) -> Result<Box<dyn Connection>, InsideError> {
        let id = self.running(container)?;
        let Some(agents) = self.agents() else {
            return Err(InsideError::NoAgent("this engine has none".to_owned()));
        };
        let agent = agents.of(&id);
        let (ours, between) = tokio::io::duplex(UNDER_WAY);
        let (back, its) = tokio::io::duplex(UNDER_WAY);
        let memory = self.clone();
        let ((mut from_us, mut to_us), (mut from_it, mut to_it)) = (tokio::io::split(between), tokio::io::split(back));
        tokio::spawn(async move {
            tokio::select! {
                _broken = sandglass_agent::serve(its, &agent) => {}
                _hung_up = memory.pass_on(&mut from_us, &mut to_it) => {}
                _hung_up = memory.pass_on(&mut from_it, &mut to_us) => {}
                () = memory.has_ended(&id) => {
                    if let Some(agents) = memory.agents() {
                        agents.end(&id);
                    }
                }
            }
        });
        Ok(Box::new(ours))
    }

    async fn output(
        &self,
        container: &ContainerRef,
        _query: OutputQuery,
    ) -> Result<BoxStream<'static, Result<Output, InsideError>>, InsideError> {
        self.faults().pass(Point::Output, When::Before).await.map_err(failed)?;
        let written = {
            let containers = self.containers();
            let Look::Ours(_, entry) = containers.look(container) else {
                return Err(InsideError::NotRunning("there is none".to_owned()));
            };
            entry.account(containers.run()).last_output
        };
        let part = written.map(|text| Ok(Output { at: None, stream: OutputStream::Stdout, bytes: text.into_bytes() }));
        let memory = self.clone();
        let rest = stream::once(async move { memory.faults().pass(Point::Output, When::After).await.err() });
        Ok(stream::iter(part).chain(rest.filter_map(|error| ready(error.map(|error| Err(failed(error)))))).boxed())
    }

    async fn load(&self, container: &ContainerRef) -> Result<Load, InsideError> {
        let id = self.running(container)?;
        let limits = self.containers().get(&id).map(|entry| entry.limits).unwrap_or_default();
        Ok(Load {
            pids: 1,
            cpu_limit: limits.cpus.unwrap_or_default(),
            memory_limit_bytes: limits.memory_mb.unwrap_or_default() << 20,
            ..Load::default()
        })
    }
}
