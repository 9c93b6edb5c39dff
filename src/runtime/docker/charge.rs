//! Being in charge: no container is touched before it is known that nobody else on this host is (design, 4.5).
//!
//! The engine is known by its id. It is asked for with every new client, and so again whenever the engine was away: another
//! one may answer at the same address.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

use super::{engine::Engine, error::CallError};
use crate::host::EngineLock;

/// How long a start waits for an engine that does not say which one it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// What new containers tell of their supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The id of its store.
    pub(super) store: String,
    /// How far its lock reaches; `None`: nowhere.
    pub(super) domain: Option<String>,
}

/// The lock, and for whom it is to be held.
pub(super) struct Charged {
    lock: Arc<EngineLock>,
    /// `None`: charge has not been taken.
    store: Mutex<Option<String>>,
}

impl Charged {
    pub(super) fn with(lock: Arc<EngineLock>) -> Self {
        Self { lock, store: Mutex::default() }
    }

    fn store(&self) -> Option<String> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_store(&self, store: Option<String>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }
}

impl Engine {
    /// What new containers tell, once charge was taken.
    pub(super) fn origin(&self) -> Option<Origin> {
        let charged = self.charged.as_ref()?;
        Some(Origin { store: charged.store()?, domain: charged.lock.domain().map(str::to_owned) })
    }

    pub(super) async fn in_charge(&self) -> Option<String> {
        let charged = self.charged.as_ref()?;
        // An engine that is away is asked when it is back.
        let engine = timeout(PATIENCE, self.id()).await.ok()?.ok()?;
        charged.lock.holder(&engine).await
    }

    pub(super) async fn take_charge(&self, store: &str) -> Result<(), String> {
        let Some(charged) = &self.charged else { return Ok(()) };
        charged.set_store(Some(store.to_owned()));
        let Ok(Ok(engine)) = timeout(PATIENCE, self.id()).await else {
            // The next client finds out.
            self.forget_client();
            return Ok(());
        };
        charged.lock.hold(&engine, store).await.inspect_err(|_| charged.set_store(None))
    }

    /// Whether the engine of this id may be touched. If somebody else is in charge of it, whoever waits for that is told.
    pub(super) async fn admit(&self, engine: &str) -> Result<(), CallError> {
        let Some((charged, store)) = self.charged.as_ref().and_then(|charged| Some((charged, charged.store()?))) else {
            return Ok(());
        };
        charged.lock.hold(engine, &store).await.map_err(|holder| {
            charged.lock.give_up_to(holder.clone());
            let message = format!("another supervisor is in charge of it: {holder}");
            CallError::Unreachable { message, sent: false }
        })
    }

    pub(super) async fn usurped(&self) -> String {
        match &self.charged {
            Some(charged) => charged.lock.usurped().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn leave(&self) {
        if let Some(charged) = &self.charged {
            charged.set_store(None);
            charged.lock.release();
        }
    }
}
