//! Being in charge: no container is touched before it is known that nobody else on this host is
//! ([design: one per engine](crate::design::persistence::one_per_engine)).
//!
//! The engine is known by its id. It is asked for with every new client, and so again whenever the engine was away: another
//! one may answer at the same address.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::CallError;
use crate::{host::EngineLock, runtime::identity::Origin};

/// The lock, and for whom it is to be held.
pub(super) struct Charge {
    lock: Arc<EngineLock>,
    /// `None`: charge has not been taken.
    store: Mutex<Option<String>>,
}

impl Charge {
    pub(super) fn by(lock: Arc<EngineLock>) -> Self {
        Self { lock, store: Mutex::default() }
    }

    fn store(&self) -> Option<String> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on, charge is taken for the store of this id, or no more.
    pub(super) fn set_store(&self, store: Option<String>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }

    /// What new containers tell, once charge was taken.
    pub(super) fn origin(&self) -> Option<Origin> {
        Some(Origin { store: self.store()?, domain: self.lock.domain().map(str::to_owned) })
    }

    /// Who else is in charge of the engine of this id.
    pub(super) async fn holder(&self, engine: &str) -> Option<String> {
        self.lock.holder(engine).await
    }

    /// Takes charge of the engine of this id; the error says who else has it.
    pub(super) async fn take(&self, engine: &str, store: &str) -> Result<(), String> {
        self.lock.hold(engine, store).await.inspect_err(|_| self.set_store(None))
    }

    /// Whether the engine of this id may be touched. If somebody else is in charge of it, [`Charge::usurped`] resolves.
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
