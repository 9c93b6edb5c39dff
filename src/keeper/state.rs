//! The keeper, and the tasks that it runs from its beginning.

use std::sync::{Arc, OnceLock, atomic::AtomicBool};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    engine::watch_runtime,
    housekeeping::{follow_wall, forget_tombstones, restore_store},
    strangers::Strangers,
};
use crate::{actor::Shared, config::Settings, domain::Moment, ports::store::Store, sandboxes::Sandboxes};

/// Takes and keeps the lease, restores sandboxes from the store, and runs the background tasks.
pub struct Keeper {
    pub(super) sandboxes: Arc<Sandboxes>,
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Arc<Settings>,
    pub(super) store: Arc<dyn Store>,
    /// When it stopped answering new requests, if it did.
    pub(super) silent_since: OnceLock<Moment>,
    pub(super) stop: CancellationToken,
    /// Ends the tasks when the keeper is dropped.
    _stopped_with_it: DropGuard,
    /// Whether a sandbox was restored with slack, which a clean stop has to leave in its record.
    pub(super) owes_slack: AtomicBool,
    /// Whether a sandbox was restored that has walls.
    pub(super) has_walls: AtomicBool,
    /// Containers with our labels that are not ours.
    pub(super) strangers: Strangers,
    /// Requests a reconcile at once.
    pub(super) reconcile_now: Notify,
}

impl Keeper {
    /// A keeper of sandboxes that are not restored yet: [`Self::begin`] restores them.
    pub fn new(sandboxes: Arc<Sandboxes>, store: Arc<dyn Store>) -> Arc<Self> {
        let (shared, health, stop) = (sandboxes.shared.clone(), sandboxes.health().clone(), CancellationToken::new());
        let keep = |name, task: fn(Arc<Shared>, CancellationToken, u32) -> BoxFuture<'static, ()>| {
            let (shared, stop) = (shared.clone(), stop.clone());
            shared.tasks.clone().keep(name, &stop.clone(), move |deaths| task(shared.clone(), stop.clone(), deaths));
        };
        keep("wall clock", |shared, stop, _| follow_wall(shared, stop).boxed());
        keep("store restorer", |shared, stop, deaths| restore_store(shared, stop, deaths).boxed());
        keep("tombstones", |shared, stop, _| forget_tombstones(shared, stop).boxed());
        let (watched, token) = (shared.clone(), stop.clone());
        shared
            .tasks
            .keep("runtime watch", &stop, move |_| watch_runtime(watched.clone(), health.clone(), token.clone()));
        Arc::new(Self {
            shared,
            settings: sandboxes.settings.clone(),
            sandboxes,
            store,
            silent_since: OnceLock::new(),
            _stopped_with_it: stop.clone().drop_guard(),
            stop,
            owes_slack: AtomicBool::new(false),
            has_walls: AtomicBool::new(false),
            strangers: Strangers::default(),
            reconcile_now: Notify::new(),
        })
    }
}
