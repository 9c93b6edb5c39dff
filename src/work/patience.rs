//! How long agents may take. A frozen agent says nothing and then goes on where it was, so only time in which its sandbox is
//! not paused counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hyper::{Request, client::conn::http2::SendRequest};
use tokio::time::sleep;

use super::body::{Body, full, uri};
use crate::{
    domain::{SandboxId, Status},
    sandboxes::Sandboxes,
};

/// How long an agent may take over a call that needs a moment.
pub(super) const MOMENT: Duration = Duration::from_secs(30);
/// After which silence an agent is asked for a word, and how long its answer may take: an engine on another machine can
/// vanish without closing its connections.
const SILENCE: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(20);
/// How often it is looked whether the sandbox is paused.
const LOOK: Duration = Duration::from_secs(2);

/// Whether anything was received since that was last asked.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<AtomicBool>);

impl Heard {
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Resolves once the sandbox was up for `time` without being paused.
pub(super) async fn has_run_for(sandboxes: &Sandboxes, id: &SandboxId, time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let part = left.min(LOOK);
        sleep(part).await;
        if !sandboxes.get(id).await.is_ok_and(|sandbox| sandbox.status() == Status::Paused) {
            left -= part;
        }
    }
}

/// Resolves when an agent that was asked for a word says nothing for long.
pub(super) async fn is_silent(sandboxes: &Sandboxes, id: &SandboxId, sender: &SendRequest<Body>, heard: &Heard) {
    loop {
        has_run_for(sandboxes, id, SILENCE).await;
        if heard.take() {
            continue;
        }
        let mut request = Request::new(full(Bytes::new()));
        *request.uri_mut() = uri("/health");
        let mut sender = sender.clone();
        // Any answer will do, also that of an agent which does not know this call.
        let asking = async {
            let _ = sender.send_request(request).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = has_run_for(sandboxes, id, ANSWER) => {}
            () = asking => {}
        }
        if !heard.take() {
            return;
        }
    }
}
