//! The store and its settings. Implements the port on threads that may block.

use std::{
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use redb::Database;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{error::Failure, file::Open, tables};
use crate::{
    domain::SandboxId,
    host::{Holder, Process},
    ports::store::{Cursor, DataState, LastStop, Page, Quarantined, Store, StoreError, Stored, Write},
    store::WallClock,
};

/// The timeout of a call. Far more than a working disk needs, since a call cannot be interrupted.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Expired tombstones are dropped after this many commits.
const COMMITS_PER_EXPIRY: u64 = 500;

/// Settings of the store.
#[derive(Clone)]
pub struct Settings {
    /// The file. Created if missing, with its directory.
    pub path: PathBuf,
    /// This supervisor's name, which others are told that find the file in use.
    pub instance: String,
    /// Tells when tombstones have expired.
    pub now: WallClock,
}

/// A store in one file, which is open while this process holds the lease.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// Applies commits in their order, even if their callers have given up.
    order: Arc<Mutex<()>>,
}

struct Shared {
    settings: Settings,
    open: RwLock<Option<Open>>,
    /// Set after an error of the disk: the next call opens the file again.
    broken: AtomicBool,
    commits: AtomicU64,
}

impl EmbeddedStore {
    /// Creates a store; taking the lease opens its file.
    ///
    /// # Errors
    /// When the path cannot be that of a file.
    pub fn open(settings: Settings) -> Result<Self, StoreError> {
        if settings.path.file_name().is_none() || settings.path.is_dir() {
            let path = settings.path.display();
            return Err(StoreError::Unavailable(format!(
                "the store file {path:?} is no path of a file: choose one as `store.path`"
            )));
        }
        let (open, broken, commits) = (RwLock::new(None), AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { settings, open, broken, commits });
        Ok(Self { shared, order: Arc::new(Mutex::new(())) })
    }

    /// Describes where the records are.
    pub fn place(&self) -> String {
        let path = &self.shared.settings.path;
        format!("the store file {}", std::path::absolute(path).unwrap_or_else(|_| path.clone()).display())
    }

    /// Runs `work` on a thread that may block. It completes even if the caller is dropped.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::time::timeout(CALL_TIMEOUT, tokio::task::spawn_blocking(move || work(&shared))).await;
        let failed = |words: String| {
            StoreError::Unavailable(format!("the store file {}: {words}", self.shared.settings.path.display()))
        };
        match done {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(failed(format!("the database panicked, its file may be damaged: {error}"))),
            Err(_) => Err(failed(format!("no answer from the disk within {CALL_TIMEOUT:?}"))),
        }
    }

    /// [`Self::blocking`], after earlier commits and before later ones.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turn().await?;
        self.blocking(move |shared| {
            let _turn = turn;
            work(shared)
        })
        .await
    }

    /// Waits for a turn in the order of commits.
    async fn turn(&self) -> Result<OwnedMutexGuard<()>, StoreError> {
        tokio::time::timeout(CALL_TIMEOUT, Arc::clone(&self.order).lock_owned()).await.map_err(|_| {
            StoreError::Unavailable(format!(
                "the store file {}: an earlier commit still waits for the disk after {CALL_TIMEOUT:?}",
                self.shared.settings.path.display()
            ))
        })
    }
}

impl Shared {
    /// Opens the file unless it is open, and returns how the last supervisor stopped.
    fn acquire(&self) -> Result<LastStop, StoreError> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.is_some() {
            return Ok(LastStop::Unclean);
        }
        let file = self.open_file()?;
        self.broken.store(false, Ordering::Release);
        let stopped = self.database(&file, tables::take_stop_note)?;
        *open = Some(file);
        // A time in the future only tells that the clock was set.
        let ago = stopped.and_then(|stopped| Duration::try_from_secs_f64((self.settings.now)() - stopped).ok());
        Ok(ago.map_or(LastStop::Unclean, |ago| LastStop::Clean { ago }))
    }

    fn open_file(&self) -> Result<Open, StoreError> {
        Open::at(&self.settings.path, &self.holder())
    }

    fn holder(&self) -> Holder {
        let Settings { instance, now, .. } = &self.settings;
        Holder { instance: instance.clone(), process: Process::this(), since: now() }
    }

    /// Closes the file; after a clean stop, notes `silent_for`.
    #[expect(clippy::unnecessary_wraps, reason = "the signature of work in turn")]
    fn release(&self, silent_for: Option<Duration>) -> Result<(), StoreError> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let (Some(file), Some(silent_for)) = (&*open, silent_for) {
            let stopped = (self.settings.now)() - silent_for.as_secs_f64();
            if let Err(error) = self.database(file, |database| tables::note_stop(database, stopped)) {
                tracing::warn!(%error, "failed to note the clean stop; the next start is as careful as after a crash");
            }
        }
        *open = None;
        // Without the lease, nothing must open the file again.
        self.broken.store(false, Ordering::Release);
        Ok(())
    }

    /// Runs `work` on the open file.
    fn with<T>(&self, work: impl FnOnce(&Open) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.broken.load(Ordering::Acquire) {
            self.reopen()?;
        }
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        work(open.as_ref().ok_or_else(not_held)?)
    }

    /// Runs `work` on the database and notes whether the file has to be opened again.
    fn database<T>(&self, open: &Open, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, StoreError> {
        work(&open.database).map_err(|failure| {
            if failure.needs_reopening() {
                self.broken.store(true, Ordering::Release);
            }
            failure.at(&self.settings.path)
        })
    }

    fn on_database<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, StoreError> {
        self.with(|open| self.database(open, work))
    }

    /// Opens the file again, unless another call already has.
    fn reopen(&self) -> Result<(), StoreError> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if !self.broken.load(Ordering::Acquire) {
            return Ok(());
        }
        *open = None;
        *open = Some(self.open_file()?);
        self.broken.store(false, Ordering::Release);
        Ok(())
    }

    fn renew(&self) -> Result<(), StoreError> {
        self.with(|open| open.check_is_at(&self.settings.path))
    }

    fn commit(&self, batch: &[Write]) -> Result<(), StoreError> {
        let now = (self.settings.now)();
        self.with(|open| {
            open.check_is_at(&self.settings.path)?;
            self.database(open, |database| tables::apply(database, batch, now))
        })?;
        if self.commits.fetch_add(1, Ordering::Relaxed) % COMMITS_PER_EXPIRY == COMMITS_PER_EXPIRY - 1 {
            self.expire();
        }
        Ok(())
    }

    /// Drops expired tombstones. A failure is harmless, since they are never returned.
    fn expire(&self) {
        let now = (self.settings.now)();
        if let Err(error) = self.on_database(|database| tables::expire(database, now)) {
            tracing::warn!(%error, "failed to drop expired tombstones; they are dropped later");
        }
    }

    fn tombstones(&self, from: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        let now = (self.settings.now)();
        let mut page = self.on_database(|database| tables::page(database, tables::TOMBSTONES, from, limit))?;
        let all = page.entries.len();
        page.entries.retain(|entry| entry.score > now);
        if page.entries.len() < all && page.next.is_none() {
            self.expire();
        }
        Ok(page)
    }
}

fn not_held() -> StoreError {
    StoreError::Held { holder: "nobody: this supervisor has not taken the lease".to_owned() }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn acquire(&self) -> Result<LastStop, StoreError> {
        self.blocking(Shared::acquire).await
    }

    async fn try_acquire(&self) -> Result<LastStop, StoreError> {
        // The lock tells whether the holder lives, so this never waits.
        self.acquire().await
    }

    async fn id(&self) -> Result<String, StoreError> {
        self.blocking(|shared| shared.on_database(tables::id)).await
    }

    async fn renew(&self) -> Result<DataState, StoreError> {
        self.blocking(Shared::renew).await.map(|()| DataState::Kept)
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.in_turn(|shared| shared.release(None)).await
    }

    async fn hand_over(&self, silent_for: Duration) -> Result<(), StoreError> {
        self.in_turn(move |shared| shared.release(Some(silent_for))).await
    }

    async fn commit(&self, batch: &[Write]) -> Result<DataState, StoreError> {
        let batch = batch.to_vec();
        self.in_turn(move |shared| shared.commit(&batch)).await.map(|()| DataState::Kept)
    }

    async fn get(&self, id: &SandboxId) -> Result<Option<Stored>, StoreError> {
        let id = id.clone();
        self.blocking(move |shared| shared.on_database(|database| tables::get(database, &id))).await
    }

    async fn active(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.blocking(move |shared| {
            shared.on_database(|database| tables::page(database, tables::SANDBOXES, from.as_ref(), limit))
        })
        .await
    }

    async fn tombstones(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.blocking(move |shared| shared.tombstones(from.as_ref(), limit)).await
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        self.blocking(|shared| shared.on_database(tables::quarantined)).await
    }

    async fn missing(&self, ids: &[SandboxId]) -> Result<Vec<SandboxId>, StoreError> {
        let ids = ids.to_vec();
        self.blocking(move |shared| shared.on_database(|database| tables::missing(database, &ids))).await
    }

    async fn hazards(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn grace_spent(&self) -> Result<Duration, StoreError> {
        self.blocking(|shared| shared.on_database(tables::grace_spent)).await
    }

    async fn spend_grace(&self, spent: Duration) -> Result<(), StoreError> {
        self.in_turn(move |shared| {
            shared.with(|open| {
                open.check_is_at(&shared.settings.path)?;
                shared.database(open, |database| tables::spend_grace(database, spent))
            })
        })
        .await
    }
}
