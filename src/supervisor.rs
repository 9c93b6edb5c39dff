//! A supervisor: what is asked of sandboxes, and what runs by itself.

use std::{ops::Deref, sync::Arc, time::Duration};

use crate::{
    actor::{Arbiters, Shared},
    config::Settings,
    keeper::{Keeper, Restoration},
    ports::store::{Store, StoreError},
    sandboxes::Sandboxes,
};

/// What a supervisor is made of.
pub struct SupervisorParts {
    /// What the actors share.
    pub shared: Arc<Shared>,
    /// The threads they live on.
    pub arbiters: Arbiters,
    /// The store; read at the start, and for the lease.
    pub store: Arc<dyn Store>,
    /// The validated configuration.
    pub settings: Arc<Settings>,
}

/// The sandboxes, which it dereferences to, and their keeper.
pub struct Supervisor {
    sandboxes: Arc<Sandboxes>,
    keeper: Arc<Keeper>,
}

impl Supervisor {
    /// A supervisor that knows no sandbox yet: [`Self::begin`] restores them.
    pub fn new(parts: SupervisorParts) -> Arc<Self> {
        let SupervisorParts { shared, arbiters, store, settings } = parts;
        let sandboxes = Arc::new(Sandboxes::new(shared, arbiters, settings));
        let keeper = Keeper::new(sandboxes.clone(), store);
        Arc::new(Self { sandboxes, keeper })
    }

    /// What is asked of sandboxes: all that requests see.
    pub fn sandboxes(&self) -> Arc<Sandboxes> {
        self.sandboxes.clone()
    }

    /// What the actors share.
    pub fn shared(&self) -> &Shared {
        &self.sandboxes.shared
    }

    /// [`Keeper::begin`].
    ///
    /// # Errors
    /// [`StoreError::Held`] when somebody else supervises the prefix, with this store or on this engine.
    pub async fn begin(&self) -> Result<Restoration, StoreError> {
        self.keeper.begin().await
    }

    /// [`Keeper::begin_when_free`].
    ///
    /// # Errors
    /// [`StoreError::Held`] when the lease is lost again before everything is back.
    pub async fn begin_when_free(&self, tell: impl Fn(&str)) -> Result<Restoration, StoreError> {
        self.keeper.begin_when_free(tell).await
    }

    /// [`Keeper::announce_stop`].
    pub fn announce_stop(&self) {
        self.keeper.announce_stop();
    }

    /// [`Keeper::shutdown`].
    pub async fn shutdown(&self, within: Duration) -> usize {
        self.keeper.shutdown(within).await
    }

    /// [`Keeper::abandon`].
    pub fn abandon(&self) {
        self.keeper.abandon();
    }

    /// Has the threads of the actors end as by an accident.
    #[cfg(test)]
    pub(crate) fn kill_arbiters(&self) {
        self.sandboxes.arbiters.stop();
    }
}

impl Deref for Supervisor {
    type Target = Sandboxes;

    fn deref(&self) -> &Sandboxes {
        &self.sandboxes
    }
}
