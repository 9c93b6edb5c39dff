//! Calls to the engine: each with a permit and a timeout, on a client that is made when it is needed.

use std::{
    future::Future,
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

/// How long a start waits for an engine that does not say which one it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// The connection to the engine. "Connection" is a figure of speech: each call opens a socket of its own, and what is
/// kept is the API version that was agreed on. It is forgotten when a call finds the engine unreachable or silent, so
/// an engine that comes back as another version, or as another engine, is asked again.
pub(super) struct Engine {
    pub(super) settings: Settings,
    pub(super) pool: Pool,
    /// `None`: nobody is kept out.
    charge: Option<Charge>,
    host: Host,
    client: Mutex<Option<Connected>>,
}

/// A client, and the id of the engine that it was made for, where somebody is kept out.
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

    /// Where it is.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// One call within the usual timeout, once there is a permit for it. It may be dropped at any time.
    pub(super) async fn call<T, F>(&self, request: impl FnOnce(bollard::Docker) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let permit = self.pool.call().await;
        self.call_with(permit, self.settings.call_timeout, request).await
    }

    /// One call within `limit`, under a permit that was got before; it is given back when the call ends.
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

    /// One call without a permit or a timeout, for those that bring their own bounds: pulls and creates.
    pub(super) async fn unbounded<T, F>(&self, request: impl FnOnce(bollard::Docker) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let client = self.client().await?;
        let outcome = request(client).await.map_err(|error| CallError::new(&self.host, error));
        self.note(&outcome);
        outcome
    }

    /// A stream without a permit, since it may stay open for ever. Only its opening is bounded, by the time of a call:
    /// the engine answers at once that there will be something to read, and after that, silence is no failure.
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
            // The library counts in whole seconds, and rounds down.
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
            // An engine that goes away may end it without a word.
            items.chain(stream::once(async move { engine.forget_client() }).filter_map(|()| ready(None))).right_stream()
        };
        stream::once(open).flatten().boxed()
    }

    /// Does it answer? Asked beside the pool: the truth is wanted most when all permits are stuck in a hanging engine.
    pub(super) async fn ping(&self) -> Result<(), RuntimeError> {
        match self.call_with(None, self.settings.call_timeout, |docker| async move { docker.ping().await }).await {
            Ok(_) => Ok(()),
            Err(CallError::TimedOut(limit)) => Err(self.silent(limit).during("ping the engine")),
            Err(error) => Err(error.during("ping the engine")),
        }
    }

    /// The client, made and its API version agreed on if there is none. Two calls may both find none and both make
    /// one: that costs a round trip, while a lock would line up every caller behind an engine that does not answer.
    async fn client(&self) -> Result<bollard::Docker, CallError> {
        self.connected().await.map(|connected| connected.client)
    }

    /// By what this supervisor's containers are told from others.
    pub(super) fn identity(&self) -> Identity<'_> {
        Identity { prefix: &self.settings.prefix, origin: self.charge.as_ref().and_then(Charge::origin) }
    }

    pub(super) async fn in_charge(&self) -> Option<String> {
        let charge = self.charge.as_ref()?;
        // An engine that is away is asked when it is back.
        let engine = timeout(PATIENCE, self.id()).await.ok()?.ok()?;
        charge.holder(&engine).await
    }

    pub(super) async fn take_charge(&self, store: &str) -> Result<(), String> {
        let Some(charge) = &self.charge else { return Ok(()) };
        charge.set_store(Some(store.to_owned()));
        let Ok(Ok(engine)) = timeout(PATIENCE, self.id()).await else {
            // The next client finds out.
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

    /// The engine's id. Empty where nobody is kept out.
    async fn id(&self) -> Result<String, CallError> {
        self.connected().await.map(|connected| connected.engine_id)
    }

    async fn connected(&self) -> Result<Connected, CallError> {
        let known = self.slot().clone();
        if let Some(connected) = known {
            return Ok(connected);
        }
        let fresh = self.host.client().map_err(|error| CallError::new(&self.host, error))?;
        let limit = self.settings.call_timeout;
        let negotiated = match timeout(limit, fresh.negotiate_version()).await {
            Ok(outcome) => outcome.map_err(|error| CallError::new(&self.host, error))?,
            Err(_elapsed) => return Err(self.silent(limit)),
        };
        let version = negotiated.client_version();
        let client = adjust_requests(negotiated, version);
        let mut engine_id = String::new();
        if let Some(charge) = &self.charge {
            engine_id = self.ask_for_id(&client).await?;
            charge.admit(&engine_id).await?;
        }
        tracing::debug!(host = %self.host, api_version = %version, engine_id, "connected to the container engine");
        let connected = Connected { client, engine_id };
        *self.slot() = Some(connected.clone());
        Ok(connected)
    }

    async fn ask_for_id(&self, client: &bollard::Docker) -> Result<String, CallError> {
        let limit = self.settings.call_timeout;
        let info = match timeout(limit, client.info()).await {
            Ok(outcome) => outcome.map_err(|error| CallError::new(&self.host, error))?,
            Err(_elapsed) => return Err(self.silent(limit)),
        };
        // One that has none is told by its address.
        Ok(info.id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.host.to_string()))
    }

    /// The next call asks the engine anew which one it is.
    fn forget_client(&self) {
        *self.slot() = None;
    }

    /// Forgets the client after an error that tells of no living connection, or of an engine of another version.
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
