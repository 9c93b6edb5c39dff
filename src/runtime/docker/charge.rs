//! Ensures that no container is touched before it is known that no other supervisor on this host is in charge
//! ([design: one per engine](crate::design::persistence::one_per_engine)).
//!
//! The lock is per engine id. The id is asked for with every new client, and so after each outage: another engine may answer
//! at the same address.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::CallError;
use crate::{host::EngineLock, runtime::identity::Origin};

/// The lock, and the store that it is held for.
pub(super) struct Charge {
    lock: Arc<EngineLock>,
    /// `None` before charge is taken.
    store: Mutex<Option<String>>,
}

impl Charge {
    pub(super) fn by(lock: Arc<EngineLock>) -> Self {
        Self { lock, store: Mutex::default() }
    }

    fn store(&self) -> Option<String> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the id of the store that charge is taken for from here on.
    pub(super) fn set_store(&self, store: Option<String>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }

    /// What new containers tell about their supervisor; `None` before charge is taken.
    pub(super) fn origin(&self) -> Option<Origin> {
        Some(Origin { store: self.store()?, domain: self.lock.domain().map(str::to_owned) })
    }

    /// Describes the other supervisor that is in charge of the engine with this id.
    pub(super) async fn holder(&self, engine: &str) -> Option<String> {
        self.lock.holder(engine).await
    }

    /// Takes charge of the engine with this id. The error describes the supervisor that already is.
    pub(super) async fn take(&self, engine: &str, store: &str) -> Result<(), String> {
        self.lock.hold(engine, store).await.inspect_err(|_| self.set_store(None))
    }

    /// Checks that the engine with this id may be touched. If another supervisor is in charge of it, [`Charge::usurped`]
    /// resolves.
    pub(super) async fn admit(&self, engine: &str) -> Result<(), CallError> {
        let Some(store) = self.store() else { return Ok(()) };
        self.lock.hold(engine, &store).await.map_err(|holder| {
            self.lock.give_up_to(holder.clone());
            let message = format!("another supervisor is in charge of it: {holder}");
            CallError::Unreachable { message, sent: false }
        })
    }

    pub(super) async fn usurped(&self) -> String {
        self.lock.usurped().await
    }

    pub(super) fn leave(&self) {
        self.set_store(None);
        self.lock.release();
    }
}
