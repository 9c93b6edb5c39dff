//! Opens the file under its lock and writes a note beside it that tells who holds it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    path::{Path, PathBuf},
};

use redb::{Builder, Database, ReadableDatabase, backends::FileBackend};

use super::{
    error::Failure,
    tables::{self, FORMAT, META},
};
use crate::{
    host::{Holder, Process},
    ports::store::StoreError,
};

/// redb's default, a gibibyte, is more than all of Sandglass should need.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// An open database. Dropping it closes the file and releases the lock.
pub(super) struct Open {
    pub(super) database: Database,
    note: PathBuf,
    file: Option<FileId>,
}

/// Identifies a file by device and inode.
type FileId = (u64, u64);

impl Open {
    /// Opens or creates the file and writes the note.
    pub(super) fn at(path: &Path, holder: &Holder) -> Result<Self, StoreError> {
        Self::try_open(path, holder).map_err(|failure| {
            if failure.is_busy() { StoreError::Held { holder: who_holds(path) } } else { failure.at(path) }
        })
    }

    fn try_open(path: &Path, holder: &Holder) -> Result<Self, Failure> {
        let file = open_file(path)?;
        let id = id_of(&file.metadata()?);
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)?;
        check_format(&database)?;
        let open = Self { database, note: note_of(path), file: id };
        let note = serde_json::json!(holder).to_string();
        if let Err(error) = fs::write(&open.note, note) {
            // The note is only for people; the lock is what counts.
            tracing::warn!(path = %open.note.display(), %error, "failed to note who holds the store");
        }
        Ok(open)
    }

    /// Checks that `path` still names the open file. If that was removed or replaced, writes are lost and its lock excludes
    /// nobody.
    pub(super) fn check_is_at(&self, path: &Path) -> Result<(), StoreError> {
        if self.file.is_none() || fs::metadata(path).is_ok_and(|metadata| id_of(&metadata) == self.file) {
            return Ok(());
        }
        let holder = format!("whoever removed or replaced the file {} while it was in use", path.display());
        Err(StoreError::Held { holder })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Still under the lock, so that this does not remove a successor's note.
        let _ = fs::remove_file(&self.note);
    }
}

/// Opens or creates the file. Only its owner can access a new file or directory, since records tell what people work on.
fn open_file(path: &Path) -> Result<File, Failure> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(directory)?;
    }
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.read(true).write(true).create(true).truncate(false).open(path)?)
}

/// Rejects a file of a later format and initializes a new one.
fn check_format(database: &Database) -> Result<(), Failure> {
    let known = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta.get("format")?.map(|format| format.value()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match known {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(Failure::Newer { found, known: FORMAT }),
        _ => tables::create(database),
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
pub(super) fn id_of(metadata: &fs::Metadata) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
pub(super) fn id_of(_: &fs::Metadata) -> Option<FileId> {
    None
}

/// The note beside the file.
fn note_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lease");
    name.into()
}

/// Describes the file's holder by the note, unless that process is dead: its successor may not have written a note yet.
fn who_holds(path: &Path) -> String {
    let note = note_of(path);
    let holder = fs::read(&note).ok().and_then(|note| serde_json::from_slice::<Holder>(&note).ok());
    match holder.filter(|holder| !holder.process.is_dead(&Process::this())) {
        Some(holder) => format!("{holder}, which has {} open", path.display()),
        None => format!("another process has {} open, and {} does not say which", path.display(), note.display()),
    }
}
