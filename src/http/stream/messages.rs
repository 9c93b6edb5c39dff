//! The messages of the stream.

use bytestring::ByteString;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{ActivitySource, EpochSeconds, Sandbox, Status, sandbox::StartProgress},
    feed::{Change, FeedEvent},
    http::{
        activity::BatchResult,
        answers::{SANDBOX_CAPACITY, SandboxAnswer},
        error::ErrorBody,
        json::json_bytes,
    },
};

/// A message to a reader.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = StreamMessage)]
pub(in crate::http) enum Message<'a> {
    /// The first message.
    Hello {
        /// The host and port of the supervisor.
        instance: &'a str,
        /// The version of Sandglass.
        version: &'a str,
        /// The name of this uninterrupted history: `since=EPOCH:SEQ` resumes.
        epoch: &'a str,
        /// The last event before this message.
        seq: u64,
        /// How many events are kept for readers that reconnect.
        history: usize,
        /// Whether the stream resumes after `since`; otherwise a snapshot follows.
        resumed: bool,
        /// The time.
        time: EpochSeconds,
        /// How many seconds before its end a sandbox is reported as expiring.
        warn_before: f64,
    },
    /// A page of a snapshot of all matching sandboxes. Events after `seq` follow, each with the whole sandbox. A page may
    /// include some of them already; the last event of each sandbox counts.
    Snapshot {
        /// The epoch.
        epoch: &'a str,
        /// The last event before this message.
        seq: u64,
        /// The time.
        time: EpochSeconds,
        /// Whether this is the first page. It replaces everything that was known before.
        first: bool,
        /// Whether this is the last page.
        last: bool,
        /// The sandboxes.
        sandboxes: Vec<SandboxAnswer<'a>>,
    },
    /// Something happened.
    Event {
        /// The number of the event, one more than that of the event before; with a filter, some are left out.
        seq: u64,
        /// When it happened.
        time: EpochSeconds,
        /// What changed.
        change: ChangeWord,
        /// The status before, if that changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Status>,
        /// What the sandbox was used by, if it was used.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<ActivitySource>,
        /// The progress of its start, if that changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        progress: Option<Progress<'a>>,
        /// The sandbox after the change.
        sandbox: Box<SandboxAnswer<'a>>,
    },
    /// No matching event has happened up to here.
    Position {
        /// The last event.
        seq: u64,
        /// The time.
        time: EpochSeconds,
    },
    /// The reader was too slow, and a new snapshot follows.
    Lagged {
        /// How many events were missed.
        missed: u64,
    },
    /// The results of pings, in their order.
    Pong {
        /// The results.
        results: Vec<BatchResult<'a>>,
    },
    /// The filter was replaced, and a snapshot follows.
    Subscribed {
        /// The last event before it.
        seq: u64,
    },
    /// A message of the reader was refused. The stream goes on.
    Error {
        /// The error.
        error: ErrorBody<'a>,
    },
}

/// What happened to a sandbox.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Change)]
pub(in crate::http) enum ChangeWord {
    /// It was created, adopted or restored.
    Appeared,
    /// Its status changed.
    Status,
    /// It was used, and its deadlines moved; sent at most once a second.
    Activity,
    /// It ends at `terminates_at` unless it is used before.
    Expiring,
    /// Its start has progressed.
    Progress,
    /// The removal of its container failed and will be retried.
    RemovalFailed,
    /// Its container stopped together with the engine or by hand, and runs again with its files; its ports may have
    /// changed.
    Restarted,
    /// Its times, ports or holds changed for another reason than use: a heartbeat, a pause, a hold that ran out, a wall
    /// clock that was set, or a network that was connected again.
    Changed,
    /// Its container is confirmed gone.
    Removed,
    /// Its retention is over, and its tombstone was deleted.
    Forgotten,
}

/// The progress of a start.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StartProgress)]
pub(in crate::http) struct Progress<'a> {
    /// The phase.
    phase: PhaseWord,
    /// More details, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// The phases of a start.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StartPhase)]
enum PhaseWord {
    /// The image is being pulled.
    Pulling,
    /// The container is being created and started.
    Starting,
    /// It runs, and is not ready yet.
    Waiting,
}

impl<'a> From<&'a StartProgress> for Progress<'a> {
    fn from(progress: &'a StartProgress) -> Self {
        match progress {
            StartProgress::Pulling { status } => Self { phase: PhaseWord::Pulling, detail: Some(status) },
            StartProgress::Starting => Self { phase: PhaseWord::Starting, detail: None },
            StartProgress::WaitingForReadiness => Self { phase: PhaseWord::Waiting, detail: None },
        }
    }
}

impl<'a> Message<'a> {
    /// The message for an event.
    pub(super) fn of(event: &'a FeedEvent) -> Self {
        let (mut from, mut source, mut progress) = (None, None, None);
        let change = match &event.change {
            Change::Appeared => ChangeWord::Appeared,
            Change::Status { from: before } => {
                from = Some(*before);
                ChangeWord::Status
            }
            Change::Activity { source: by } => {
                source = Some(*by);
                ChangeWord::Activity
            }
            Change::Expiring => ChangeWord::Expiring,
            Change::Progress(how_far) => {
                progress = Some(how_far.into());
                ChangeWord::Progress
            }
            Change::RemovalFailed => ChangeWord::RemovalFailed,
            Change::Restarted => ChangeWord::Restarted,
            Change::Moved | Change::Changed => ChangeWord::Changed,
            Change::Removed => ChangeWord::Removed,
            Change::Forgotten => ChangeWord::Forgotten,
        };
        let sandbox = Box::new(SandboxAnswer::of(&event.sandbox, &event.at));
        Self::Event { seq: event.seq, time: event.at.wall(), change, from, source, progress, sandbox }
    }

    /// The word in its `type`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Snapshot { .. } => "snapshot",
            Self::Event { .. } => "event",
            Self::Position { .. } => "position",
            Self::Lagged { .. } => "lagged",
            Self::Pong { .. } => "pong",
            Self::Subscribed { .. } => "subscribed",
            Self::Error { .. } => "error",
        }
    }

    /// Serializes it.
    pub(super) fn text(&self) -> ByteString {
        let sandboxes = match self {
            Self::Snapshot { sandboxes, .. } => sandboxes.len(),
            Self::Pong { results } => results.len(),
            Self::Event { .. } => 1,
            _ => 0,
        };
        // serde writes JSON as UTF-8.
        ByteString::try_from(json_bytes(self, SANDBOX_CAPACITY * sandboxes + 256)).unwrap_or_default()
    }
}

/// The sandboxes of a page.
pub(super) fn answers<'a>(sandboxes: &'a [Sandbox], now: &crate::domain::Now) -> Vec<SandboxAnswer<'a>> {
    sandboxes.iter().map(|sandbox| SandboxAnswer::of(sandbox, now)).collect()
}
