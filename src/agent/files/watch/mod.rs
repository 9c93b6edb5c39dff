//! The calls of `filesystem.Filesystem` that watch: `WatchDir`, which streams changes, and watchers that are asked for them.

mod directories;
mod event;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};

use self::{
    directories::{Options, Watch},
    event::Event,
};
use super::paths;
use crate::{
    body::{Request, Response},
    connect::{Code, Context, Error, Events, server_stream, unary},
    users::User,
};

/// How many watchers and streams there may be. Each has a thread, and one of the few that inotify allows on a host.
const WATCHERS_BOUND: usize = 64;

/// How many changes wait until a watcher is asked for them.
const CHANGES_BOUND: usize = 16_384;

/// After this time without being asked, a watcher makes room for a new one.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// How many changes are on their way to a client that streams them. More of them wait in the kernel, which has a bound, too.
const UNDER_WAY: usize = 64;

/// The watchers of an agent.
#[derive(Debug)]
pub(super) struct Watchers {
    permits: Arc<Semaphore>,
    asked: Mutex<HashMap<String, Watcher>>,
    next: AtomicU64,
}

impl Default for Watchers {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(WATCHERS_BOUND)), asked: Mutex::default(), next: AtomicU64::new(1) }
    }
}

/// A watcher that is asked for its changes.
#[derive(Debug)]
struct Watcher {
    queue: Arc<Mutex<Queue>>,
    last_asked: Instant,
    _watch: Watch,
}

/// The changes that wait, the newest last.
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    dropped: u64,
    ended: Option<Error>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchRequest {
    path: String,
    recursive: bool,
    include_entry: bool,
    allow_network_mounts: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatcherRequest {
    watcher_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateWatcherResponse {
    watcher_id: String,
}

#[derive(Debug, Serialize)]
struct GetWatcherEventsResponse {
    #[serde(skip_serializing_if = "VecDeque::is_empty")]
    events: VecDeque<Event>,
}

#[derive(Debug, Serialize)]
struct RemoveWatcherResponse {}

/// What a stream tells.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum WatchDirResponse {
    Start {},
    Filesystem(Event),
    Keepalive {},
}

/// Answers the call of this name.
pub(super) async fn answer(watchers: &Arc<Watchers>, name: &str, request: Request) -> Option<Response> {
    Some(match name {
        "CreateWatcher" => unary(request, async |context, asked| watchers.create(&context, asked).await).await,
        "GetWatcherEvents" => {
            unary(request, async |_, asked: WatcherRequest| watchers.changes(&asked.watcher_id)).await
        }
        "RemoveWatcher" => {
            unary(request, async |_, asked: WatcherRequest| {
                let removed = watchers.asked().remove(&asked.watcher_id);
                removed.map(|_| RemoveWatcherResponse {}).ok_or_else(|| unknown(&asked.watcher_id))
            })
            .await
        }
        "WatchDir" => {
            let watchers = watchers.clone();
            server_stream(request, async move |context, asked, events| stream(&watchers, context, asked, events).await)
                .await
        }
        _ => return None,
    })
}

impl WatchRequest {
    fn options(self, user: &User) -> Result<Options, Error> {
        let path = paths::resolve(&self.path, user)?;
        let Self { recursive, include_entry, allow_network_mounts, .. } = self;
        Ok(Options { path, recursive, include_entry, allow_network_mounts })
    }
}

impl Watchers {
    fn asked(&self) -> MutexGuard<'_, HashMap<String, Watcher>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        if self.permits.available_permits() == 0 {
            self.asked().retain(|_, watcher| watcher.last_asked.elapsed() < FORGOTTEN);
        }
        self.permits.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{WATCHERS_BOUND} watchers are the most at once; remove one");
            Error::new(Code::ResourceExhausted, message)
        })
    }

    async fn create(&self, context: &Context, request: WatchRequest) -> Result<CreateWatcherResponse, Error> {
        let user = User::find(&context.user)?;
        let options = request.options(&user)?;
        let queue = Arc::new(Mutex::new(Queue::default()));
        let filled = queue.clone();
        let watch = directories::start(&user, self.permit()?, options, move |told| {
            lock(&filled).push(told);
            true
        })
        .await?;
        // The process id keeps ids of an earlier agent from meaning a new watcher.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let watcher_id = format!("w{:x}-{number}", std::process::id());
        let watcher = Watcher { queue, last_asked: Instant::now(), _watch: watch };
        self.asked().insert(watcher_id.clone(), watcher);
        Ok(CreateWatcherResponse { watcher_id })
    }

    fn changes(&self, id: &str) -> Result<GetWatcherEventsResponse, Error> {
        let mut asked = self.asked();
        let watcher = asked.get_mut(id).ok_or_else(|| unknown(id))?;
        watcher.last_asked = Instant::now();
        lock(&watcher.queue).take().map(|events| GetWatcherEventsResponse { events })
    }
}

impl Queue {
    fn push(&mut self, told: Result<Event, Error>) {
        match told {
            Ok(event) => {
                if self.events.len() == CHANGES_BOUND {
                    self.events.pop_front();
                    self.dropped += 1;
                }
                self.events.push_back(event);
            }
            Err(error) => self.ended = Some(error),
        }
    }

    /// What waits. That something was dropped is told first, and once.
    fn take(&mut self) -> Result<VecDeque<Event>, Error> {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            let message = format!(
                "{dropped} changes were dropped: {CHANGES_BOUND} may wait; the next call has the newest of them"
            );
            return Err(Error::new(Code::ResourceExhausted, message));
        }
        match &self.ended {
            Some(error) if self.events.is_empty() => Err(error.clone()),
            _ => Ok(std::mem::take(&mut self.events)),
        }
    }
}

async fn stream(watchers: &Watchers, context: Context, asked: WatchRequest, events: Events) -> Result<(), Error> {
    let user = User::find(&context.user)?;
    let options = asked.options(&user)?;
    let (sender, mut receiver) = mpsc::channel(UNDER_WAY);
    let tell = move |told| sender.blocking_send(told).is_ok();
    let _watch = directories::start(&user, watchers.permit()?, options, tell).await?;
    events.send(&WatchDirResponse::Start {}).await?;
    loop {
        match tokio::time::timeout(context.keepalive, receiver.recv()).await {
            Ok(Some(event)) => events.send(&WatchDirResponse::Filesystem(event?)).await?,
            // The directory is gone.
            Ok(None) => return Ok(()),
            Err(_) => events.send(&WatchDirResponse::Keepalive {}).await?,
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown(id: &str) -> Error {
    Error::not_found(format!("watcherId: there is no watcher {id:?}"))
}

#[cfg(test)]
mod tests {
    use super::{event::Kind, *};

    fn event(number: usize) -> Event {
        Event { name: number.to_string(), kind: Kind::Write, entry: None }
    }

    #[test]
    fn changes_beyond_the_bound_push_the_oldest_out_and_that_is_told_once() {
        let mut queue = Queue::default();
        for number in 0..CHANGES_BOUND + 3 {
            queue.push(Ok(event(number)));
        }
        let error = queue.take().unwrap_err();
        assert_eq!(error.code, Code::ResourceExhausted);
        assert!(error.message.starts_with("3 changes were dropped: 16384 may wait"), "{}", error.message);
        let events = queue.take().unwrap();
        assert_eq!((events.len(), &events[0].name), (CHANGES_BOUND, &String::from("3")));
        assert!(queue.take().unwrap().is_empty());
    }

    #[test]
    fn what_came_before_the_end_is_told_before_it() {
        let mut queue = Queue::default();
        queue.push(Ok(event(1)));
        queue.push(Err(Error::invalid("the end")));
        assert_eq!(queue.take().unwrap().len(), 1);
        for _ in 0..2 {
            assert_eq!(queue.take().unwrap_err().message, "the end");
        }
    }

    #[test]
    fn there_are_no_more_watchers_than_the_bound() {
        let watchers = Watchers::default();
        let permits: Vec<_> = (0..WATCHERS_BOUND).map(|_| watchers.permit().unwrap()).collect();
        let error = watchers.permit().unwrap_err();
        assert_eq!(error.code, Code::ResourceExhausted);
        assert!(error.message.contains("64"), "{}", error.message);
        drop(permits);
        drop(watchers.permit().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_that_nobody_asks_makes_room() {
        let watchers = Watchers::default();
        let directory = tempfile::TempDir::new().unwrap();
        let context = Context { user: String::new(), timeout: None, keepalive: Duration::from_secs(1) };
        let path = directory.path().to_str().unwrap().to_owned();
        let request = WatchRequest { path, ..WatchRequest::default() };
        let id = watchers.create(&context, request).await.unwrap().watcher_id;
        let _others: Vec<_> = (1..WATCHERS_BOUND).map(|_| watchers.permit().unwrap()).collect();
        tokio::time::advance(FORGOTTEN - Duration::from_secs(1)).await;
        watchers.changes(&id).unwrap();
        tokio::time::advance(FORGOTTEN - Duration::from_secs(1)).await;
        assert!(watchers.permit().is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(watchers.permit().unwrap());
        assert_eq!(watchers.changes(&id).unwrap_err().code, Code::NotFound);
    }
}
