//! Calls the engine, with a permit and a timeout per call. The client is created on demand.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::errors::Error;
use futures_util::{
    Stream, StreamExt,
    future::ready,
    stream::{self, BoxStream},
};
use tokio::time::timeout;

use super::{
    charge::Charge,
    error::CallError,
    host::{Host, adjust_requests},
    pool::{Permit, Pool},
    settings::Settings,
};
use crate::{host::EngineLock, ports::runtime::RuntimeError, runtime::identity::Identity};

/// How long a start waits for the engine's id.
const PATIENCE: Duration = Duration::from_secs(2);

/// The engine. Each call opens a socket of its own; the client only keeps the negotiated API version and the engine's id. It
/// is dropped when the engine is unreachable or silent, since another version or another engine may come back.
pub(super) struct Engine {
    pub(super) settings: Settings,
    pub(super) pool: Pool,
    /// `None` if no other supervisor is excluded.
    charge: Option<Charge>,
    host: Host,
    client: Mutex<Option<Connected>>,
}

/// A client and the id of its engine; the id is empty if no other supervisor is excluded.
#[derive(Clone)]
struct Connected {
    client: bollard::Docker,
    engine_id: String,
}

impl Engine {
    pub(super) fn new(settings: Settings, lock: Option<Arc<EngineLock>>) -> Result<Self, RuntimeError> {
        let host = Host::resolve(&settings)?;
        let (pool, charge) = (Pool::new(settings.concurrency), lock.map(Charge::by));
        Ok(Self { pool, settings, charge, host, client: Mutex::new(None) })
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Waits for a permit and makes one call within the usual timeout. Can be dropped at any time.
    pub(super) async fn call<T, F>(&self, request: impl FnOnce(bollard::Docker) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let permit = self.pool.call().await;
        self.call_with(permit, self.settings.call_timeout, request).await
    }

    /// Makes one call within `limit`, and then gives back the permit.
    pub(super) async fn call_with<T, F>(
        &self,
        _permit: Permit<'_>,
        limit: Duration,
        request: impl FnOnce(bollard::Docker) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let client = self.client().await?;
        let outcome = match timeout(limit, request(client)).await {
            Ok(outcome) => outcome.map_err(|error| CallError::new(&self.host, error)),
            Err(_elapsed) => Err(CallError::TimedOut(limit)),
        };
        self.note(&outcome);
        outcome
    }

    /// Makes one call without a permit or a timeout, for pulls and creates, which have their own limits.
    pub(super) async fn unbounded<T, F>(&self, request: impl FnOnce(bollard::Docker) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let client = self.client().await?;
        let outcome = request(client).await.map_err(|error| CallError::new(&self.host, error));
        self.note(&outcome);
        outcome
    }

    /// Opens a stream without a permit, since it may stay open indefinitely. Only its opening has a timeout: the engine sends
    /// the response's head at once, and silence after that is no failure.
    pub(super) fn stream<T, S>(
        self: Arc<Self>,
        request: impl FnOnce(bollard::Docker) -> S + Send + 'static,
    ) -> BoxStream<'static, Result<T, CallError>>
    where
        T: Send + 'static,
        S: Stream<Item = Result<T, Error>> + Send + 'static,
    {
        let open = async move {
            let client = match self.client().await {
                Ok(client) => client,
                Err(error) => return stream::once(ready(Err(error))).left_stream(),
            };
            // The library rounds down to whole seconds.
            let limit = Duration::from_secs(self.settings.call_timeout.as_secs().saturating_add(1));
            let engine = Arc::clone(&self);
            let items = request(client.with_timeout(limit)).map(move |item| {
                let item = item.map_err(|error| match error {
                    Error::RequestTimeoutError => CallError::TimedOut(limit),
                    error => CallError::new(&self.host, error),
                });
                self.note(&item);
                item
            });
            // An engine that shuts down may end the stream without an error.
            items.chain(stream::once(async move { engine.forget_client() }).filter_map(|()| ready(None))).right_stream()
        };
        stream::once(open).flatten().boxed()
    }

    /// Checks that the engine answers. Takes no permit: this matters most when a hanging engine holds them all.
    pub(super) async fn ping(&self) -> Result<(), RuntimeError> {
        match self.call_with(None, self.settings.call_timeout, |docker| async move { docker.ping().await }).await {
            Ok(_) => Ok(()),
            Err(CallError::TimedOut(limit)) => Err(self.silent(limit).during("ping the engine")),
            Err(error) => Err(error.during("ping the engine")),
        }
    }

    async fn client(&self) -> Result<bollard::Docker, CallError> {
        self.connected().await.map(|connected| connected.client)
    }

    pub(super) fn identity(&self) -> Identity<'_> {
        Identity { prefix: &self.settings.prefix, origin: self.charge.as_ref().and_then(Charge::origin) }
    }

    pub(super) async fn in_charge(&self) -> Option<String> {
        let charge = self.charge.as_ref()?;
        // If the engine is unreachable, the next client asks it.
        let engine = timeout(PATIENCE, self.id()).await.ok()?.ok()?;
        charge.holder(&engine).await
    }

    pub(super) async fn take_charge(&self, store: &str) -> Result<(), String> {
        let Some(charge) = &self.charge else { return Ok(()) };
        charge.set_store(Some(store.to_owned()));
        let Ok(Ok(engine)) = timeout(PATIENCE, self.id()).await else {
            // The next client takes charge.
            self.forget_client();
            return Ok(());
        };
        charge.take(&engine, store).await
    }

    pub(super) async fn usurped(&self) -> String {
        match &self.charge {
            Some(charge) => charge.usurped().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn leave(&self) {
        if let Some(charge) = &self.charge {
            charge.leave();
        }
    }

    async fn id(&self) -> Result<String, CallError> {
        self.connected().await.map(|connected| connected.engine_id)
    }

    /// The client; creates one if there is none. Two calls may both create one, which costs a round trip, while a lock would
    /// queue every caller behind an engine that does not answer.
    async fn connected(&self) -> Result<Connected, CallError> {
        let known = self.slot().clone();
        if let Some(connected) = known {
            return Ok(connected);
        }
        let fresh = self.host.client().map_err(|error| CallError::new(&self.host, error))?;
        let negotiated = self.answered(fresh.negotiate_version()).await?;
        let version = negotiated.client_version();
        let client = adjust_requests(negotiated, version);
        let mut engine_id = String::new();
        if let Some(charge) = &self.charge {
            // An engine without an id is identified by its address.
            let id = self.answered(client.info()).await?.id.filter(|id| !id.is_empty());
            engine_id = id.unwrap_or_else(|| self.host.to_string());
            charge.admit(&engine_id).await?;
        }
        tracing::debug!(host = %self.host, api_version = %version, engine_id, "connected to the container engine");
        let connected = Connected { client, engine_id };
        *self.slot() = Some(connected.clone());
        Ok(connected)
    }

    /// Awaits a call of a new client; an engine that does not answer it counts as unreachable.
    async fn answered<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, CallError> {
        let limit = self.settings.call_timeout;
        match timeout(limit, call).await {
            Ok(outcome) => outcome.map_err(|error| CallError::new(&self.host, error)),
            Err(_elapsed) => Err(self.silent(limit)),
        }
    }

    /// Has the next call create a client.
    fn forget_client(&self) {
        *self.slot() = None;
    }

    /// Forgets the client after an error that shows a dead connection or another API version.
    fn note<T>(&self, outcome: &Result<T, CallError>) {
        let stale = match outcome {
            Err(CallError::Unreachable { .. } | CallError::TimedOut(_)) => true,
            Err(CallError::Refused { status: 400, message }) => message.contains("client version"),
            _ => false,
        };
        if stale {
            self.forget_client();
        }
    }

    fn silent(&self, limit: Duration) -> CallError {
        CallError::Unreachable { message: format!("{}: no answer within {limit:?}", self.host), sent: false }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Connected>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
