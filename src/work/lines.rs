//! The connections to agents. One is opened when somebody works in a sandbox, is shared by all who do, and is closed a minute
//! after the last use; a sandbox that nobody works in has none.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use hyper::{
    client::conn::http2::{self, SendRequest},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use tokio::{runtime::Handle, sync::Mutex, time::Instant};
use tokio_util::{io::InspectReader, sync::CancellationToken};

use super::{
    body::Body,
    error::WorkError,
    patience::{Heard, is_silent},
};
use crate::{
    domain::SandboxId,
    ports::{inside::InsideError, runtime::ContainerRef},
    sandboxes::Sandboxes,
};

/// For how long a connection without work is kept.
const KEPT: Duration = Duration::from_secs(60);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How many calls may be under way in one sandbox. The agent's own bound is larger, so that the ends of commands can be
/// waited for besides.
pub(super) const MOST_CALLS: usize = 2000;
/// How much of each stream may be under way.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same of all streams of a connection: enough for all of them, so that those that nobody reads hold up no other.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MOST_CALLS as u32;
/// The longest frame that an agent may send.
const FRAME: u32 = 64 << 10;

/// A use of a connection to an agent; the connection stays open while there is one.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) sandbox: SandboxId,
    pub(super) sender: SendRequest<Body>,
    pub(super) sandboxes: Arc<Sandboxes>,
    _in_use: Arc<()>,
}

/// A connection that is kept.
struct Kept {
    sender: SendRequest<Body>,
    /// Counts the uses; one is this.
    in_use: Arc<()>,
    last_used: Instant,
}

/// The connection of one sandbox. It is opened under the lock, and so only once.
type Slot = Arc<Mutex<Option<Kept>>>;

/// All connections.
pub(super) struct Lines {
    io: Handle,
    slots: Arc<DashMap<SandboxId, Slot>>,
}

impl Lines {
    pub(super) fn new(io: Handle) -> Self {
        Self { io, slots: Arc::default() }
    }

    /// The connection to the agent in `container`: the one that is open, or a new one. Fails if it has `most` uses already.
    pub(super) async fn get(
        &self,
        sandboxes: &Arc<Sandboxes>,
        container: &ContainerRef,
        most: usize,
    ) -> Result<Line, WorkError> {
        let sandbox = container.sandbox.clone();
        let slot = Arc::clone(&self.slots.entry(sandbox.clone()).or_default());
        let mut kept = slot.lock().await;
        if kept.as_ref().is_none_or(|kept| kept.sender.is_closed()) {
            match self.open(sandboxes, container, &slot).await {
                Ok(opened) => *kept = Some(opened),
                Err(error) => {
                    drop(kept);
                    drop(slot);
                    forget(&self.slots, &sandbox);
                    return Err(error);
                }
            }
        }
        match kept.as_mut() {
            Some(kept) if Arc::strong_count(&kept.in_use) > most => Err(WorkError::Busy(most)),
            Some(kept) => {
                kept.last_used = Instant::now();
                let (sender, sandboxes) = (kept.sender.clone(), Arc::clone(sandboxes));
                Ok(Line { sandbox, sender, sandboxes, _in_use: Arc::clone(&kept.in_use) })
            }
            None => Err(WorkError::Broken(sandbox, "it was closed".to_owned())),
        }
    }

    async fn open(&self, sandboxes: &Arc<Sandboxes>, container: &ContainerRef, slot: &Slot) -> Result<Kept, WorkError> {
        let Some(inside) = sandboxes.shared.runtime.inside() else {
            return Err(InsideError::NoAgent("this engine has no way into its containers".to_owned()).into());
        };
        let heard = Heard::default();
        let stream = InspectReader::new(inside.dial(container).await?, {
            let heard = heard.clone();
            move |_: &[u8]| heard.note()
        });
        let id = container.sandbox.clone();
        let cut = CancellationToken::new();
        let opened = http2::Builder::new(Cuttable(cut.clone()))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            // That many clients may hang up at once, and what the agent has sent them meanwhile is no fault of its.
            .max_concurrent_reset_streams(MOST_CALLS)
            .max_local_error_reset_streams(None)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) =
            opened.map_err(|error| WorkError::Broken(id.clone(), format!("no HTTP/2 is spoken: {error}")))?;
        let (slots, slot, sandboxes) = (Arc::clone(&self.slots), Arc::clone(slot), Arc::clone(sandboxes));
        let asking = sender.clone();
        self.io.spawn(async move {
            let _cut = cut.drop_guard();
            tokio::select! {
                _ended = connection => {}
                () = unused_for_long(&slot) => {}
                () = is_silent(&sandboxes, &id, &asking, &heard) => {
                    tracing::warn!(sandbox_id = %id, "the agent does not answer any more: its connection is closed");
                }
                // All who wait for a sandbox that ends learn it now, and not when its container is gone.
                () = sandboxes.ending(&id) => {}
            }
            drop(slot);
            forget(&slots, &id);
        });
        Ok(Kept { sender, in_use: Arc::default(), last_used: Instant::now() })
    }

    /// How many sandboxes are worked in.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

/// Runs the tasks of a connection until it is cut. Without that, hyper would go on waiting for the answers that are under way
/// after its connection was dropped.
#[derive(Clone)]
struct Cuttable(CancellationToken);

impl<T: Future<Output: Send> + Send + 'static> Executor<T> for Cuttable {
    fn execute(&self, task: T) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(task));
    }
}

/// Resolves when nobody has used the connection for [`KEPT`]. It is taken out of its slot then, so nobody begins to.
async fn unused_for_long(slot: &Slot) {
    loop {
        tokio::time::sleep(LOOK).await;
        let mut kept = slot.lock().await;
        match kept.as_ref() {
            Some(Kept { in_use, last_used, .. }) if Arc::strong_count(in_use) > 1 || last_used.elapsed() < KEPT => {}
            _ => return *kept = None,
        }
    }
}

/// Forgets a slot without an open connection, unless somebody is about to open one.
fn forget(slots: &DashMap<SandboxId, Slot>, sandbox: &SandboxId) {
    slots.remove_if(sandbox, |_, slot| {
        Arc::strong_count(slot) == 1
            && slot.try_lock().is_ok_and(|kept| kept.as_ref().is_none_or(|kept| kept.sender.is_closed()))
    });
}
