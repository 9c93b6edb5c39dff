//! The next messages for one reader.

use std::{collections::VecDeque, time::Duration};

use actix_web::{HttpRequest, web::Data};
use bytestring::ByteString;
use tokio::{task::yield_now, time::timeout};

use super::messages::{Message, answers};
use crate::{
    feed::{FeedEvent, Position, Read, Reader, Subscription},
    http::{
        connection::{Link, Occupied},
        error::{ApiError, Code},
        query::StreamQuery,
    },
    sandboxes::{Filter, Sandboxes, Snapshot},
};

/// How long a reader may read nothing while a message waits for it.
pub(super) const SEND_WITHIN: Duration = Duration::from_secs(30);

/// A message that is ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: &'static str,
    pub(super) text: ByteString,
    /// The last event that the reader knows after this message; `None` if that is unchanged.
    pub(super) seq: Option<u64>,
}

impl Frame {
    pub(super) fn of(message: &Message<'_>, seq: Option<u64>) -> Self {
        Self { kind: message.kind(), text: message.text(), seq }
    }
}

/// The stream of one reader.
pub(super) struct StreamSession {
    sandboxes: Data<Sandboxes>,
    filter: Filter,
    reader: Reader,
    /// Messages that come before anything else.
    first: VecDeque<Frame>,
    snapshot: Option<Running>,
    /// The last event that the reader knows.
    told: u64,
    /// Keeps the connection open, because a silent stream is not idle.
    _occupied: Option<Occupied>,
}

/// A snapshot that is being sent.
struct Running {
    snapshot: Snapshot,
    at: u64,
    begun: bool,
}

impl StreamSession {
    /// Begins with a greeting, and with a snapshot if the reader cannot resume.
    pub(super) fn new(
        sandboxes: Data<Sandboxes>,
        request: &HttpRequest,
        StreamQuery { filter, since }: StreamQuery,
    ) -> Result<Self, ApiError> {
        let occupied = request.conn_data().map(Link::occupy).transpose();
        let occupied = occupied.map_err(|full| ApiError::new(Code::LimitReached, full.to_string()))?;
        let subscribed = sandboxes.subscribe(since.as_ref());
        let now = sandboxes.now();
        let Subscription { reader, resumed, .. } = subscribed.map_err(|error| ApiError::of(&error, &now))?;
        let port = sandboxes.settings().http.bind.port();
        let instance = format!("{}:{port}", hostname::get().unwrap_or_default().to_string_lossy());
        let Position { epoch, seq } = reader.position();
        let hello = Message::Hello {
            instance: &instance,
            version: env!("CARGO_PKG_VERSION"),
            epoch,
            seq: *seq,
            history: sandboxes.stream_history(),
            resumed,
            time: now.wall(),
            warn_before: sandboxes.settings().lifecycle.warn_before.as_secs_f64(),
        };
        let first = VecDeque::from([Frame::of(&hello, None)]);
        let told = *seq;
        let mut session = Self { sandboxes, filter, reader, first, snapshot: None, told, _occupied: occupied };
        if !resumed {
            session.begin_snapshot();
        }
        Ok(session)
    }

    pub(super) fn sandboxes(&self) -> &Data<Sandboxes> {
        &self.sandboxes
    }

    /// The epoch of positions.
    pub(super) fn epoch(&self) -> &str {
        &self.reader.position().epoch
    }

    /// Waits for the next messages. Cancel-safe.
    pub(super) async fn next(&mut self) -> Vec<Frame> {
        loop {
            if !self.first.is_empty() {
                return self.first.drain(..).collect();
            }
            if self.snapshot.is_some() {
                return vec![self.page().await];
            }
            let read = self.reader.next().await;
            let told = self.tell(read);
            if !told.is_empty() {
                return told;
            }
            // A filter that skips many events must not occupy the thread.
            yield_now().await;
        }
    }

    /// The last messages before Sandglass stops, including the effects of requests in flight. A snapshot that is not
    /// finished is not continued.
    pub(super) async fn rest(&mut self) -> Vec<Frame> {
        let grace = self.sandboxes.settings().http.stop_grace;
        // Requests that take longer are dropped.
        let _ = timeout(grace, self.sandboxes.in_flight().wait()).await;
        let mut rest: Vec<_> = self.first.drain(..).collect();
        while self.snapshot.is_none()
            && let Some(read) = self.reader.take()
        {
            rest.extend(self.tell(read));
        }
        rest
    }

    /// A message with the position of the reader, unless it has just been told by an event.
    pub(super) fn position(&mut self) -> Option<Frame> {
        let seq = self.reader.position().seq;
        let is_news = self.snapshot.is_none() && seq > self.told;
        is_news.then(|| {
            self.told = seq;
            Frame::of(&Message::Position { seq, time: self.sandboxes.now().wall() }, Some(seq))
        })
    }

    /// Replaces the filter and begins a snapshot.
    pub(super) fn change_filter(&mut self, filter: Filter) {
        self.filter = filter;
        let seq = self.reader.position().seq;
        self.first.push_back(Frame::of(&Message::Subscribed { seq }, None));
        self.begin_snapshot();
    }

    fn begin_snapshot(&mut self) {
        let at = self.reader.position().seq;
        self.snapshot = Some(Running { snapshot: self.sandboxes.snapshot(&self.filter), at, begun: false });
    }

    /// The next page of the snapshot.
    async fn page(&mut self) -> Frame {
        let now = self.sandboxes.now();
        let Some(running) = &mut self.snapshot else {
            return Frame::of(&Message::Position { seq: self.told, time: now.wall() }, None);
        };
        // Nothing changes before the page is there, so that it is not lost if this future is dropped.
        let sandboxes = self.sandboxes.next_page(&mut running.snapshot, &self.filter).await;
        let last = running.snapshot.is_done();
        let now = self.sandboxes.now();
        let message = Message::Snapshot {
            epoch: &self.reader.position().epoch,
            seq: running.at,
            time: now.wall(),
            first: !running.begun,
            last,
            sandboxes: answers(&sandboxes, &now),
        };
        let told = Frame::of(&message, last.then_some(running.at));
        running.begun = true;
        if last {
            self.told = running.at;
            self.snapshot = None;
        }
        told
    }

    fn tell(&mut self, read: Read) -> Vec<Frame> {
        match read {
            Read::Events(events) => {
                let wanted = events.iter().filter(|event| self.filter.concerns(event));
                let told: Vec<_> = wanted.map(|event| tell_event(event)).collect();
                self.told = told.last().and_then(|told| told.seq).unwrap_or(self.told);
                told
            }
            Read::Lagged { missed } => {
                self.sandboxes.stream_lagged();
                self.begin_snapshot();
                vec![Frame::of(&Message::Lagged { missed }, None)]
            }
        }
    }
}

/// The text is written once for all readers.
fn tell_event(event: &FeedEvent) -> Frame {
    Frame { kind: "event", text: event.text(|event| Message::of(event).text()), seq: Some(event.seq) }
}
