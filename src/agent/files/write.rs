//! Writes single files, in place or atomically.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    fcntl::OFlag,
    sys::{stat::futimens, time::TimeSpec},
};

use super::{entry::METADATA, failure::Failure, query::Attributes, transfer::Upload, tree, xattrs};

/// What E2B's clients attach to a file.
pub(super) type Metadata = BTreeMap<String, String>;

/// Lets `fill` write a file in place, as a program that opens it would: its inode, owner, mode and other names stay, but not the
/// metadata of an earlier upload. The directories above are made. A reader sees what has been written so far.
pub(super) fn in_place(
    path: &Path,
    metadata: &Metadata,
    fill: impl FnOnce(&mut File) -> Result<(), Failure>,
) -> Result<(), Failure> {
    refuse_special(path)?;
    tree::make_parents(path)?;
    let failed = |error: io::Error| Failure::io(path, &error);
    let mut options = OpenOptions::new();
    // A pipe that has taken the file's place would hold the thread up.
    options.write(true).create(true).truncate(true).mode(0o644).custom_flags(OFlag::O_NONBLOCK.bits());
    let existed = fs::metadata(path).is_ok();
    let mut file = options.open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(Failure::bad(format!("{}: is not a regular file", path.display())));
    }
    if existed {
        xattrs::clear(&file, METADATA.as_bytes()).map_err(failed)?;
    } else {
        // E2B's agent gives a new file to its user before it writes it. This one has the right owner already, but programs that
        // watch the directory count on being told.
        _ = fchown(&file, Some(found.uid()), Some(found.gid()));
    }
    fill(&mut file)?;
    attach(&file, path, metadata)
}

/// Writes a file under another name in the same directory and then renames it, so that everybody sees the old file or the new
/// one, whole; if anything fails, the old one stays. The directories above are made.
///
/// A symbolic link stays, and what it leads to is replaced. The new file has the mode of the one that it replaces, and its owner
/// where the user may give files away, unless `attributes` says something else.
pub(super) fn atomically(
    path: &Path,
    body: &mut Upload,
    attributes: &Attributes,
    metadata: &Metadata,
) -> Result<(), Failure> {
    refuse_special(path)?;
    tree::make_parents(path)?;
    // A link that leads nowhere is replaced itself.
    let place = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
        _ => path.to_owned(),
    };
    let before = fs::metadata(&place).ok();
    let (mut file, temporary) = Temporary::create(&place)?;
    body.copy_to(&mut file, path)?;
    let failed = |error: io::Error| Failure::io(path, &error);
    if let Some(before) = &before {
        // Only root can give a file away; for others it stays theirs.
        _ = fchown(&file, Some(before.uid()), Some(before.gid()));
    }
    if attributes.uid.is_some() || attributes.gid.is_some() {
        fchown(&file, attributes.uid, attributes.gid).map_err(failed)?;
    }
    attach(&file, path, metadata)?;
    let mode = attributes.mode.or(before.map(|before| before.mode() & 0o7777)).unwrap_or(0o644);
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    if let Some((seconds, nanoseconds)) = attributes.mtime {
        let time = TimeSpec::new(seconds, nanoseconds);
        futimens(&file, &time, &time).map_err(|error| failed(error.into()))?;
    }
    temporary.rename_to(&place)
}

/// Refuses what cannot be written as a file.
fn refuse_special(path: &Path) -> Result<(), Failure> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(Failure::bad(format!("{}: is a directory", path.display()))),
        Ok(found) if !found.is_file() => Err(Failure::bad(format!("{}: is not a regular file", path.display()))),
        // What cannot be looked at cannot be opened either, and opening it tells why.
        _ => Ok(()),
    }
}

/// Attaches the metadata of E2B's clients.
fn attach(file: &File, path: &Path, metadata: &Metadata) -> Result<(), Failure> {
    for (key, value) in metadata {
        let name = format!("{METADATA}{key}");
        if !xattrs::set(file, name.as_bytes(), value.as_bytes()).map_err(|error| Failure::io(path, &error))? {
            let message = format!("{}: its file system cannot keep metadata (extended attributes)", path.display());
            return Err(Failure::bad(message));
        }
    }
    Ok(())
}

/// A file that is removed unless it is renamed.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn create(place: &Path) -> Result<(File, Self), Failure> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".sandglass-{}-{number}.tmp", std::process::id());
            let path = place.with_file_name(name);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok((file, Self(Some(path)))),
                // Left behind by an agent that was killed; it had the same process id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Failure::io(place, &error)),
            }
        }
    }

    fn rename_to(mut self, place: &Path) -> Result<(), Failure> {
        if let Some(path) = &self.0 {
            fs::rename(path, place).map_err(|error| match error.kind() {
                io::ErrorKind::ResourceBusy => Failure::bad(format!(
                    "{}: is a mount point, which cannot be replaced; write it in place with POST",
                    place.display()
                )),
                _ => Failure::io(place, &error),
            })?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // If it cannot be removed now, nobody can do anything about it here.
            _ = fs::remove_file(path);
        }
    }
}
