//! Looks at, makes, moves and removes files and directories. Everything here blocks, and runs in a thread of [`super::acting`].

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{entry::Entry, names::Names, paths};
use crate::connect::{Code, Error};

/// How many entries a list may have.
const LIST_BOUND: usize = 65_536;

/// What is told about a path.
pub(super) fn stat(path: &Path) -> Result<Entry, Error> {
    Entry::read(path, &Names::default()).map_err(|error| missing_too(path, &error))
}

/// Makes a directory, and those above it.
pub(super) fn make_dir(path: &Path) -> Result<Entry, Error> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(Error::new(Code::AlreadyExists, format!("{}: the directory exists already", path.display())));
        }
        Ok(_) => return Err(Error::invalid(format!("{}: exists and is not a directory", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io(&path.display().to_string(), &error)),
    }
    make_dirs(path)?;
    stat(path)
}

/// Makes a directory and those above it where they are missing, for everybody to read (before the umask).
pub(super) fn make_dirs(path: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| match error.kind() {
        // The standard library says so when a file stands where a directory has to be.
        io::ErrorKind::AlreadyExists => Error::invalid(format!("{}: exists and is not a directory", path.display())),
        _ => Error::io(&format!("{}: making the directory", path.display()), &error),
    })
}

/// Makes the directories above a path.
pub(super) fn make_parents(path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), make_dirs)
}

/// Renames; a file, or an empty directory, that stands at the new path is replaced.
pub(super) fn rename(from: &Path, to: &Path) -> Result<Entry, Error> {
    fs::symlink_metadata(from).map_err(|error| missing_too(from, &error))?;
    make_parents(to)?;
    fs::rename(from, to).map_err(|error| {
        let both = format!("{} → {}", from.display(), to.display());
        match error.kind() {
            io::ErrorKind::CrossesDevices => Error::new(
                Code::FailedPrecondition,
                format!("{both}: they are on different file systems; copy the file and remove the old one"),
            ),
            _ => Error::io(&both, &error),
        }
    })?;
    stat(to)
}

/// Removes a file, a symbolic link, or a directory with everything in it. Links are not followed. What is not there is removed
/// already, as in E2B, unless `must_exist`.
pub(super) fn remove(path: &Path, must_exist: bool) -> Result<(), Error> {
    if path.parent().is_none() {
        return Err(Error::invalid("path: the root directory cannot be removed"));
    }
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => Ok(()),
        Err(error) => Err(Error::io(&path.display().to_string(), &error)),
    }
}

/// Lists a directory, down to `depth` levels: each directory before what is in it, names in the order of their bytes.
///
/// A symbolic link to a directory is followed when it is the path itself, and not below.
pub(super) fn list(path: &Path, depth: u32) -> Result<Vec<Entry>, Error> {
    list_up_to(LIST_BOUND, path, depth)
}

fn list_up_to(bound: usize, path: &Path, depth: u32) -> Result<Vec<Entry>, Error> {
    let found = fs::metadata(path).map_err(|error| missing_too(path, &error))?;
    if !found.is_dir() {
        return Err(Error::invalid(format!("{}: is not a directory", path.display())));
    }
    let names = Names::default();
    let mut entries = Vec::new();
    // The paths still to visit, the next one last, with their levels.
    let mut waiting = sorted(path)?.into_iter().rev().map(|path| (path, 1)).collect::<Vec<_>>();
    while let Some((path, level)) = waiting.pop() {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            // Somebody has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(&path.display().to_string(), &error)),
        };
        if entries.len() == bound {
            let message = format!("a list may have {bound} entries; ask for less depth, or for directories below");
            return Err(Error::new(Code::ResourceExhausted, message));
        }
        entries.push(Entry::of(&path, &metadata, &names));
        if metadata.is_dir() && level < depth {
            match sorted(&path) {
                Ok(below) => waiting.extend(below.into_iter().rev().map(|path| (path, level + 1))),
                Err(error) if error.code == Code::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(entries)
}

fn sorted(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error: io::Error| Error::io(&path.display().to_string(), &error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        if paths.len() > LIST_BOUND {
            break;
        }
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The error of looking a path up. A file that stands where a directory has to be means that there is nothing below it.
pub(super) fn missing_too(path: &Path, error: &io::Error) -> Error {
    let told = Error::io(&path.display().to_string(), error);
    match error.kind() {
        io::ErrorKind::NotADirectory => Error { code: Code::NotFound, ..told },
        _ => told,
    }
}

/// What E2B's clients are told about a file that was written.
pub(super) fn written(path: &Path, metadata: &std::collections::BTreeMap<String, String>) -> serde_json::Value {
    let mut told = serde_json::json!({ "path": path.to_string_lossy(), "name": paths::name(path), "type": "file" });
    if !metadata.is_empty() {
        told["metadata"] = serde_json::json!(metadata);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_beyond_the_bound_is_refused_with_it() {
        let directory = tempfile::TempDir::new().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(list_up_to(3, directory.path(), 1).unwrap().len(), 3);
        let error = list_up_to(2, directory.path(), 1).unwrap_err();
        assert_eq!(error.code, Code::ResourceExhausted);
        assert!(error.message.starts_with("a list may have 2 entries"), "{}", error.message);
    }
}
