//! Passes the body of a request on to a sandbox.

use std::{io, time::Duration};

use actix_web::{dev::Payload, error::PayloadError, rt};
use futures_util::StreamExt;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::work::Part;

/// How long a client whose upload is refused may go on sending.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// How many parts of an upload wait for the sandbox.
pub(super) const AHEAD: usize = 4;

/// Passes a body on, and tells its end. Without that, as when its client is gone and this is dropped, it is not whole.
pub(super) async fn send(mut payload: Payload, parts: mpsc::Sender<io::Result<Part>>) {
    loop {
        let part = match payload.next().await {
            Some(part) => part.map(Part::Data).map_err(|error: PayloadError| io::Error::other(error.to_string())),
            None => Ok(Part::End),
        };
        let is_last = !matches!(part, Ok(Part::Data(_)));
        if parts.send(part).await.is_err() && !is_last {
            // The sandbox wants no more, but its client still sends.
            while let Some(Ok(_)) = payload.next().await {}
            return;
        }
        if is_last {
            return;
        }
    }
}

/// A body that is passed on by itself. Dropping this ends that.
pub(super) struct Upload(AbortOnDropHandle<()>);

impl Upload {
    /// Begins, and returns where the parts come.
    pub(super) fn begin(payload: Payload) -> (Self, mpsc::Receiver<io::Result<Part>>) {
        let (parts, receiver) = mpsc::channel(AHEAD);
        (Self(AbortOnDropHandle::new(rt::spawn(send(payload, parts)))), receiver)
    }

    /// Waits until everything has come, for a while: most clients read no answer before they have sent all.
    pub(super) async fn linger(mut self) {
        let _ = timeout(LINGER, &mut self.0).await;
    }
}
