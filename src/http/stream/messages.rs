//! What is said on the stream.

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
        /// Whose stream it is: host and port.
        instance: &'a str,
        /// Sandglass' version.
        version: &'a str,
        /// The name of this uninterrupted history: `since=EPOCH:SEQ` resumes.
        epoch: &'a str,
        /// The last event before what follows.
        seq: u64,
        /// How many events are kept for those who come back.
        history: usize,
        /// Whether it goes on where `since` said; otherwise a snapshot follows.
        resumed: bool,
        /// The time.
        time: EpochSeconds,
        /// How many seconds before its end a sandbox is announced as expiring.
        warn_before: f64,
    },
    /// A page of all sandboxes that match. Events after `seq` follow, each with the whole sandbox. A page may have seen some
    /// of them already: of each sandbox, the last event holds.
    Snapshot {
        /// The epoch.
        epoch: &'a str,
        /// The last event before what follows.
        seq: u64,
        /// The time.
        time: EpochSeconds,
        /// Whether this is the first page: what was known before is to be forgotten.
        first: bool,
        /// Whether this is the last page.
        last: bool,
        /// The sandboxes.
        sandboxes: Vec<SandboxAnswer<'a>>,
    },
    /// Something happened.
    Event {
        /// One more than that of the event before it; with a filter, some are left out.
        seq: u64,
        /// When.
        time: EpochSeconds,
        /// What.
        change: ChangeWord,
        /// The status before, when that is what changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Status>,
        /// What the sandbox was used by, when that is what happened.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<ActivitySource>,
        /// How far its start is, when that is what changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        progress: Option<Progress<'a>>,
        /// The sandbox as it now is.
        sandbox: Box<SandboxAnswer<'a>>,
    },
    /// Nothing that matches has happened up to here.
    Position {
        /// The last event.
        seq: u64,
        /// The time.
        time: EpochSeconds,
    },
    /// The reader was too slow, and a new snapshot follows.
    Lagged {
        /// How many events are not there any more.
        missed: u64,
    },
    /// The answers to pings, in their order.
    Pong {
        /// The answers.
        results: Vec<BatchResult<'a>>,
    },
    /// There is another filter now, and a snapshot follows.
    Subscribed {
        /// The last event before it.
        seq: u64,
    },
    /// Something that the reader said was not understood. The stream goes on.
    Error {
        /// What was wrong.
        error: ErrorBody<'a>,
    },
}

/// What happened to a sandbox.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Change)]
pub(in crate::http) enum ChangeWord {
    /// It was created, adopted or brought back.
    Appeared,
    /// Its status is another one.
    Status,
    /// Its deadlines moved, since it was used; told at most once a second.
    Activity,
    /// It ends at `terminates_at`, unless somebody uses it before.
    Expiring,
    /// Its start goes on.
    Progress,
    /// The removal of its container failed, and is tried again.
    RemovalFailed,
    /// Its container has stopped, not by itself, and runs again with its files; its ports may be others.
    Restarted,
    /// Its times or its ports are others, and not since it was used: a heartbeat, a pause, a wall clock that was set, or a
    /// network that was connected anew.
    Changed,
    /// Its container is confirmed gone.
    Removed,
    /// Its retention is over: nothing is known of it any more.
    Forgotten,
}

/// How far a start is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StartProgress)]
pub(in crate::http) struct Progress<'a> {
    /// In a word.
    phase: PhaseWord,
    /// More in words, where there is more to say.
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
    /// What an event says.
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

    /// The word for its kind, as its `type` has it.
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

    /// As it is sent.
    pub(super) fn text(&self) -> ByteString {
        let sandboxes = match self {
            Self::Snapshot { sandboxes, .. } => sandboxes.len(),
            Self::Pong { results } => results.len(),
            Self::Event { .. } => 1,
            _ => 0,
        };
        // What serde writes as JSON is UTF-8.
        ByteString::try_from(json_bytes(self, SANDBOX_CAPACITY * sandboxes + 256)).unwrap_or_default()
    }
}

/// The answers for a page.
pub(super) fn answers<'a>(sandboxes: &'a [Sandbox], now: &crate::domain::Now) -> Vec<SandboxAnswer<'a>> {
    sandboxes.iter().map(|sandbox| SandboxAnswer::of(sandbox, now)).collect()
}
