//! The history of events, which all readers share.

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::event::{Change, FeedEvent};
use crate::{
    domain::{Moment, Now, Sandbox},
    random,
    tasks::Tasks,
};

/// How long the feed stays awake after the last reader has left, for readers that come back.
const LINGER: Duration = Duration::from_secs(300);
/// The minimum delay between wake-ups, per reader: with many readers, events of a few milliseconds are batched.
const PACE: Duration = Duration::from_micros(50);
const SLOWEST_PACE: Duration = Duration::from_millis(100);
const EPOCH_LENGTH: usize = 12;

/// A position in the order of events, written `EPOCH:SEQ`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The name of an uninterrupted history. It changes when the process starts and when the feed has slept.
    pub epoch: Arc<str>,
    /// The last event seen; 0 for none.
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.epoch, self.seq)
    }
}

impl FromStr for Position {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "EPOCH:SEQ, as an earlier stream told them";
        let (epoch, seq) = text.split_once(':').ok_or(RULE)?;
        let seq = seq.parse().map_err(|_| RULE)?;
        if epoch.is_empty() || epoch.len() > 64 || !epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(RULE);
        }
        Ok(Self { epoch: epoch.into(), seq })
    }
}

/// The number of readers has reached this limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyReaders(pub usize);

/// A new reader's position.
pub(super) struct Entrance {
    pub(super) at: Position,
    /// Watches the number of the last event.
    pub(super) head: watch::Receiver<u64>,
    /// Whether it continues at its earlier position.
    pub(super) resumed: bool,
    /// Whether the feed slept until now.
    pub(super) woken: bool,
}

/// The shared history. Publishing is cheap on every thread.
pub struct Feed {
    history: Mutex<History>,
    /// How many events a history keeps.
    capacity: usize,
    max_readers: usize,
    awake: AtomicBool,
    readers: AtomicUsize,
    /// Notified by each publication.
    bell: Notify,
    /// The number of the last event, as told to the readers.
    head: watch::Sender<u64>,
}

struct History {
    epoch: Arc<str>,
    /// Consecutive events; the last one has the number `head`.
    events: VecDeque<Arc<FeedEvent>>,
    head: u64,
    /// Since when there have been no readers.
    silent_since: Option<Moment>,
}

impl Feed {
    /// A sleeping feed. One of `tasks` wakes its readers.
    pub fn start(capacity: usize, max_readers: usize, tasks: &Tasks) -> Arc<Self> {
        let history = History {
            epoch: random::letters(EPOCH_LENGTH).into(),
            events: VecDeque::new(),
            head: 0,
            silent_since: None,
        };
        let feed = Arc::new(Self {
            history: Mutex::new(history),
            capacity: capacity.max(1),
            max_readers,
            awake: AtomicBool::new(false),
            readers: AtomicUsize::new(0),
            bell: Notify::new(),
            head: watch::Sender::new(0),
        });
        let bells = feed.clone();
        tasks.keep("feed waker", &CancellationToken::new(), move |_| wake_readers(bells.clone()));
        feed
    }

    /// Whether there are readers, or some may come back. Otherwise nothing needs to be published.
    pub fn is_awake(&self) -> bool {
        self.awake.load(Ordering::Relaxed)
    }

    /// The number of readers.
    pub fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    /// The number of events that are kept for readers that come back.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Publishes an event. Events of one sandbox must not be published concurrently, since the order of calls is the order of
    /// events.
    pub fn publish(&self, change: Change, sandbox: &Sandbox, at: Now) {
        if !self.is_awake() {
            return;
        }
        let sandbox = sandbox.clone();
        let oldest = {
            let mut history = self.history();
            history.head += 1;
            let event = FeedEvent::new(history.head, at, change, sandbox);
            history.events.push_back(Arc::new(event));
            if history.events.len() > self.capacity { history.events.pop_front() } else { None }
        };
        // Freed outside of the lock.
        drop(oldest);
        self.bell.notify_one();
    }

    /// Counts a new reader and wakes the feed.
    pub(super) fn enter(&self, since: Option<&Position>) -> Result<Entrance, TooManyReaders> {
        let mut history = self.history();
        let readers = self.readers.load(Ordering::Relaxed);
        if readers >= self.max_readers {
            return Err(TooManyReaders(self.max_readers));
        }
        self.readers.store(readers + 1, Ordering::Relaxed);
        history.silent_since = None;
        let woken = !self.awake.swap(true, Ordering::SeqCst);
        if woken {
            // The events since it fell asleep are in no history, so earlier positions become invalid.
            history.epoch = random::letters(EPOCH_LENGTH).into();
        }
        let resumed = since.is_some_and(|since| {
            since.epoch == history.epoch && since.seq <= history.head && since.seq + 1 >= history.oldest()
        });
        let seq = since.filter(|_| resumed).map_or(history.head, |since| since.seq);
        let at = Position { epoch: history.epoch.clone(), seq };
        Ok(Entrance { at, head: self.head.subscribe(), resumed, woken })
    }

    /// Lets the feed fall asleep if it has had no readers for a while. Called regularly.
    pub fn tend(&self, now: Moment) {
        let mut history = self.history();
        if self.readers() > 0 || !self.is_awake() {
            return;
        }
        let since = *history.silent_since.get_or_insert(now);
        if now.since(since) >= LINGER {
            self.awake.store(false, Ordering::SeqCst);
            history.events = VecDeque::new();
        }
    }

    /// Up to `most` events after `seq`; the error is the number of events that were dropped after it.
    pub(super) fn after(&self, seq: u64, most: usize) -> Result<Vec<Arc<FeedEvent>>, u64> {
        let history = self.history();
        let oldest = history.oldest();
        let Some(skip) = (seq + 1).checked_sub(oldest) else { return Err(oldest - (seq + 1)) };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(history.events.len());
        Ok(history.events.range(skip..).take(most).cloned().collect())
    }

    pub(super) fn head(&self) -> u64 {
        self.history().head
    }

    pub(super) fn left(&self) {
        let _history = self.history();
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> Duration {
        let readers = u32::try_from(self.readers()).unwrap_or(u32::MAX);
        // A single reader is woken without delay.
        PACE.saturating_mul(readers.saturating_sub(1)).min(SLOWEST_PACE)
    }
}

impl History {
    /// The number of the oldest kept event, or of the next one.
    fn oldest(&self) -> u64 {
        self.head + 1 - self.events.len() as u64
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Feed").field("readers", &self.readers()).finish_non_exhaustive()
    }
}

/// Tells the readers the number of the last event, indefinitely.
async fn wake_readers(feed: Arc<Feed>) {
    loop {
        // Comes first: a predecessor may have died after it took a notification.
        feed.head.send_replace(feed.head());
        let pace = feed.pace();
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
        feed.bell.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;
    use crate::domain::{Details, OnTimeout, Rules, SandboxId};
    use crate::feed::{Read, Reader};
    use crate::{clock::Clock, metrics::Metrics};

    const NOW: Now = Now { moment: Moment::from_nanos(0), epoch_offset: 0 };

    fn sandbox() -> Sandbox {
        let id = SandboxId::parse("one").unwrap();
        let rules = Rules::new(Duration::from_secs(1), OnTimeout::Deactivate);
        Sandbox::create(Details::new(id, "c", 0.0, rules), NOW).0
    }

    fn feed(capacity: usize) -> Arc<Feed> {
        let tasks = Tasks::new(Handle::current(), Clock::system(), Arc::new(Metrics::new()));
        Feed::start(capacity, 3, &tasks)
    }

    fn publish(feed: &Feed, times: usize) {
        for _ in 0..times {
            feed.publish(Change::Changed, &sandbox(), NOW);
        }
    }

    async fn numbers(reader: &mut Reader) -> Vec<u64> {
        match reader.next().await {
            Read::Events(events) => events.iter().map(|event| event.seq).collect(),
            Read::Lagged { .. } => panic!("lagged"),
        }
    }

    #[tokio::test]
    async fn every_reader_gets_every_event_in_one_order() {
        let feed = feed(10);
        let (mut one, mut other) = (feed.subscribe(None).unwrap().reader, feed.subscribe(None).unwrap().reader);
        publish(&feed, 3);
        assert_eq!(numbers(&mut one).await, [1, 2, 3]);
        publish(&feed, 1);
        assert_eq!(numbers(&mut one).await, [4]);
        assert_eq!(numbers(&mut other).await, [1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn who_comes_back_gets_exactly_what_was_missed_or_is_told_to_begin_anew() {
        let feed = feed(3);
        let first = feed.subscribe(None).unwrap();
        let at = |seq| Position { epoch: first.reader.position().epoch.clone(), seq };
        publish(&feed, 5);
        for (seq, resumed) in [(5, true), (4, true), (2, true), (1, false), (0, false), (6, false), (u64::MAX, false)] {
            let again = feed.subscribe(Some(&at(seq))).unwrap();
            assert_eq!(again.resumed, resumed, "{seq}");
            assert_eq!(again.reader.position().seq, if resumed { seq } else { 5 });
        }
        let elsewhere = Position { epoch: "other".into(), seq: 5 };
        assert!(!feed.subscribe(Some(&elsewhere)).unwrap().resumed);
        let mut again = feed.subscribe(Some(&at(2))).unwrap().reader;
        assert_eq!(numbers(&mut again).await, [3, 4, 5]);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_much_it_missed_and_goes_on_from_the_end() {
        let feed = feed(3);
        let mut slow = feed.subscribe(None).unwrap().reader;
        publish(&feed, 10);
        assert!(matches!(slow.next().await, Read::Lagged { missed: 7 }));
        assert_eq!(slow.position().seq, 10);
        publish(&feed, 1);
        assert_eq!(numbers(&mut slow).await, [11]);
    }

    #[tokio::test]
    async fn a_feed_that_nobody_reads_falls_asleep_and_wakes_in_another_epoch() {
        let feed = feed(10);
        publish(&feed, 1);
        let first = feed.subscribe(None).unwrap();
        assert!(first.woken);
        assert_eq!(first.reader.position().seq, 0);
        let place = first.reader.position().clone();
        drop(first);
        let at = |seconds| Moment::from_nanos(0).plus(Duration::from_secs(seconds));
        feed.tend(at(0));
        feed.tend(at(299));
        assert!(feed.subscribe(Some(&place)).unwrap().resumed, "it lingers for whoever comes back");
        feed.tend(at(300));
        feed.tend(at(600));
        assert!(!feed.is_awake());
        let later = feed.subscribe(Some(&place)).unwrap();
        assert!(later.woken && !later.resumed);
    }

    #[tokio::test]
    async fn there_are_no_more_readers_than_may_be() {
        let feed = feed(1);
        let readers: Vec<_> = (0..3).map(|_| feed.subscribe(None).unwrap()).collect();
        assert_eq!(feed.subscribe(None).err(), Some(TooManyReaders(3)));
        drop(readers);
        assert_eq!(feed.readers(), 0);
        assert!(feed.subscribe(None).is_ok());
    }

    #[test]
    fn a_position_reads_back_as_it_was_written() {
        let position: Position = "abc12:77".parse().unwrap();
        assert_eq!((position.to_string().as_str(), position.seq), ("abc12:77", 77));
        for wrong in ["", ":", "abc", "abc:", ":7", "abc:-1", "a b:7", "abc:99999999999999999999999"] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
}
