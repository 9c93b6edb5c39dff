//! One supervisor per prefix on a host, whatever its file: two files would be two supervisors that take each other's
//! containers for left-overs.

use std::{
    env,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{self, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::file::id_of;
use crate::{ports::store::StoreError, store::holder::Holder};

/// What the lock's file says: for people only.
#[derive(Serialize, Deserialize)]
struct Words {
    #[serde(flatten)]
    holder: Holder,
    /// The holder's store file.
    #[serde(default)]
    store: PathBuf,
}

/// The lock of a prefix, held until it is dropped or the process ends.
pub(super) struct HostLock {
    path: PathBuf,
    /// Closing it gives the lock back.
    _file: File,
}

impl HostLock {
    /// Takes the lock. `None`: it cannot be had here, for want of permission for example; the file's own lock then has to
    /// do.
    ///
    /// # Errors
    /// [`StoreError::Held`] when another process has it.
    pub(super) fn take(prefix: &str, store: &Path, holder: Holder) -> Result<Option<Self>, StoreError> {
        let words = Words { holder, store: path::absolute(store).unwrap_or_else(|_| store.to_owned()) };
        let path = env::temp_dir().join(format!("{prefix}.sandglass-lock"));
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = match opened {
                Ok(file) => file,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "no lock for this prefix on this host");
                    return Ok(None);
                }
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Held { holder: words_in(&mut file, &words.store) });
                }
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(path = %path.display(), %error, "no lock for this prefix on this host");
                    return Ok(None);
                }
            }
            // A holder removes the file when it lets go: one that is not there any more keeps nobody out.
            let current = fs::metadata(&path).ok().map(|metadata| id_of(&metadata));
            if current == file.metadata().ok().map(|metadata| id_of(&metadata)) {
                // Only people read it.
                let _ = file.set_len(0).and_then(|()| file.write_all(serde_json::json!(words).to_string().as_bytes()));
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        // While it is still held, so that nobody else's is removed.
        let _ = fs::remove_file(&self.path);
    }
}

/// Who holds it, for somebody with the file `ours`.
fn words_in(file: &mut File, ours: &Path) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match read.ok().and_then(|_| serde_json::from_str::<Words>(&text).ok()) {
        Some(Words { holder, store }) if store == ours => format!("{holder}, which has {} open", store.display()),
        Some(Words { holder, store }) => format!("{holder}, with another store file on this host: {}", store.display()),
        None => "another process on this host".to_owned(),
    }
}
