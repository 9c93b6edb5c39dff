//! Implements the port; each call has a file of its own.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use super::{
    addresses::Addresses, engine::Engine, known::Known, names::Names, registry::Keyring, settings::Settings,
    volume::AgentVolume,
};
use crate::{
    domain::EpochSeconds,
    host::EngineLock,
    ports::runtime::{
        ContainerEvent, ContainerRef, EndAccount, Inspected, Listed, Runtime, RuntimeError, Start, StartProgress,
        Started,
    },
    ports::{inside::Inside, snapshots::Snapshots, walls::Walls},
    runtime::readiness::ReadyProbe,
};

/// The Docker Engine. Cheap to clone; clones share their connection and their permits.
#[derive(Clone)]
pub struct Docker {
    pub(super) engine: Arc<Engine>,
    pub(super) probe: ReadyProbe,
    pub(super) keyring: Keyring,
    pub(super) volume: Arc<AgentVolume>,
    pub(super) names: Arc<Names>,
    pub(super) addresses: Addresses,
    /// Makes networks one at a time.
    pub(super) making: Arc<tokio::sync::Mutex<()>>,
    pub(super) known: Arc<Known>,
}

impl Docker {
    /// Creates a client. The first call connects, so that a supervisor can start while Docker is down.
    ///
    /// # Errors
    /// [`RuntimeError::Failed`] when the host's address is not supported or a certificate for it is missing.
    pub fn connect(settings: Settings) -> Result<Self, RuntimeError> {
        Self::connect_with(settings, None)
    }

    /// [`Docker::connect`] for a supervisor that takes charge by `lock`. Without a lock, no other supervisor is excluded.
    ///
    /// # Errors
    /// As [`Docker::connect`].
    pub fn connect_with(mut settings: Settings, lock: Option<Arc<EngineLock>>) -> Result<Self, RuntimeError> {
        let keyring = Keyring::new(std::mem::take(&mut settings.registries), settings.call_timeout);
        let names = Arc::new(Names::of(&settings.prefix));
        Ok(Self {
            keyring,
            names,
            addresses: Addresses::default(),
            making: Arc::default(),
            known: Arc::default(),
            engine: Arc::new(Engine::new(settings, lock)?),
            probe: ReadyProbe::new()?,
            volume: Arc::default(),
        })
    }
}

#[async_trait]
impl Runtime for Docker {
    async fn start(
        &self,
        start: &Start,
        cancel: &CancellationToken,
        progress: &(dyn Fn(StartProgress) + Send + Sync),
    ) -> Result<Started, RuntimeError> {
        self.run_start(start, cancel, progress).await
    }

    async fn inspect(&self, container: &ContainerRef) -> Result<Option<Inspected>, RuntimeError> {
        self.view(container).await
    }

    async fn in_charge(&self) -> Option<String> {
        self.engine.in_charge().await
    }

    async fn take_charge(&self, store: &str) -> Result<(), String> {
        self.engine.take_charge(store).await
    }

    async fn usurped(&self) -> String {
        self.engine.usurped().await
    }

    fn leave(&self) {
        self.engine.leave();
    }

    async fn await_ready(&self, found: &Inspected) -> Result<(), RuntimeError> {
        self.await_labelled_readiness(found).await
    }

    async fn account_of_end(&self, container: &ContainerRef) -> EndAccount {
        self.account(container).await
    }

    async fn restart(&self, container: &ContainerRef, frozen: bool) -> Result<Option<Started>, RuntimeError> {
        self.start_again(container, frozen).await
    }

    async fn pause(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        self.freeze(container).await
    }

    async fn resume(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        self.thaw(container).await
    }

    async fn remove(&self, container: &ContainerRef) -> Result<(), RuntimeError> {
        self.terminate(container).await
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        self.listing().await
    }

    fn events(&self, since: Option<EpochSeconds>) -> BoxStream<'static, Result<ContainerEvent, RuntimeError>> {
        self.event_stream(since)
    }

    fn inside(&self) -> Option<&dyn Inside> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn walls(&self) -> Option<&dyn Walls> {
        Some(self)
    }

    async fn check(&self) -> Result<(), RuntimeError> {
        self.engine.ping().await
    }
}
