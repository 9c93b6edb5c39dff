//! The interface to the inside of a running container: to the agent that works in it, and to what the container itself
//! writes and uses.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};

use super::container::ContainerRef;
use crate::domain::EpochSeconds;

/// A connection to an agent: bytes of HTTP/2, in both directions. Dropping it closes it; what runs inside goes on.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Why the inside of a container cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsideError {
    /// The engine cannot be reached.
    #[error("the container engine cannot be reached: {0}")]
    Unreachable(String),
    /// There is no such container, or it does not run.
    #[error("the container does not run: {0}")]
    NotRunning(String),
    /// The agent cannot work there. The text says what to do.
    #[error("no agent can work in this container: {0}")]
    NoAgent(String),
    /// The engine refused, failed, or took too long.
    #[error("{0}")]
    Failed(String),
}

/// Which part of a container's output to read.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct OutputQuery {
    /// How many lines from its end; `None`: all that is kept.
    pub tail: Option<u32>,
    /// Only what was written from then on.
    pub since: Option<EpochSeconds>,
    /// Whether to go on with what is written later, until the container ends.
    pub follow: bool,
}

/// The stream of a process that something was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output; of a container with a terminal, everything.
    Stdout,
    /// Standard error.
    Stderr,
}

impl fmt::Display for OutputStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// A part of a container's output, at most a few KiB; usually a line with its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// When it was written, by the engine's clock, if the engine tells it.
    pub at: Option<EpochSeconds>,
    /// Where.
    pub stream: OutputStream,
    /// What.
    pub bytes: Vec<u8>,
}

/// What a container uses at a moment. Counters go on from the start of the container.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Load {
    /// When that was read, by the engine's clock.
    pub at: EpochSeconds,
    /// Seconds of processor time that it has used.
    pub cpu_seconds: f64,
    /// How many cores it uses just now: 0.5 is half of one.
    pub cpus: f64,
    /// How many cores there are for it.
    pub cpu_limit: f64,
    /// Bytes of memory in use, without the kernel's cache of files.
    pub memory_bytes: u64,
    /// Bytes of that cache.
    pub cache_bytes: u64,
    /// The limit of its memory in bytes.
    pub memory_limit_bytes: u64,
    /// How many processes and threads it has.
    pub pids: u64,
    /// Bytes received and sent, by network interface.
    pub network: BTreeMap<String, (u64, u64)>,
    /// Bytes read from and written to disks.
    pub disk: (u64, u64),
}

/// Reaches the inside of containers, whatever the engine is, without a port that others could reach.
///
/// Implementations compare a container with its [`ContainerRef`] first ([design: ours only](crate::design::engine::ours_only)).
#[async_trait]
pub trait Inside: Send + Sync {
    /// Connects to the agent in a running container, and starts it if it does not run. Its protocol is the business of
    /// [`crate::work`].
    ///
    /// # Errors
    /// [`InsideError`].
    async fn dial(&self, container: &ContainerRef) -> Result<Box<dyn Connection>, InsideError>;

    /// Streams what the container's main process has written and is kept. Also works after its end.
    ///
    /// # Errors
    /// When there is no such container, or the engine keeps no output; later in the stream when it breaks.
    async fn output(
        &self,
        container: &ContainerRef,
        query: OutputQuery,
    ) -> Result<BoxStream<'static, Result<Output, InsideError>>, InsideError>;

    /// Measures what the container uses. Takes up to two seconds, since a share of a processor is that of an interval.
    ///
    /// # Errors
    /// [`InsideError`].
    async fn load(&self, container: &ContainerRef) -> Result<Load, InsideError>;
}
