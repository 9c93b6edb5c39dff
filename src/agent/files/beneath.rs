//! Names below a directory that nothing leads out of.
//!
//! Each step of a name is opened from the directory before it, and a symbolic link is never followed. So it does not matter
//! what is in the directory, nor what others change there meanwhile: what was opened is below the root.

use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, statat},
    io::Errno,
};

use super::failure::Failure;

/// How a directory is opened. Reading it is not needed, so that a directory that may only be searched will do.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory, and the one below it that was used last.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    last: Option<(Vec<Vec<u8>>, OwnedFd)>,
}

impl Root {
    /// Opens a directory. Symbolic links on the way to it are followed: it is the caller who names it.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let directory =
            openat(CWD, path, DIRECTORY, Mode::empty()).map_err(|error| Failure::io(path, &error.into()))?;
        Ok(Self { directory, last: None })
    }

    /// Opens the directory at `steps` below the root.
    ///
    /// # Errors
    ///
    /// If a step is a symbolic link or no directory; if it is missing, unless `make`.
    pub(super) fn walk(&mut self, steps: &[&[u8]], make: bool) -> Result<&OwnedFd, Failure> {
        if steps.is_empty() {
            return Ok(&self.directory);
        }
        // Entries of one directory follow each other.
        let is_last =
            self.last.as_ref().is_some_and(|(last, _)| last.iter().map(Vec::as_slice).eq(steps.iter().copied()));
        if !is_last {
            let mut directory = self.directory.try_clone().map_err(|error| Failure::io(&shown(steps), &error))?;
            for (index, step) in steps.iter().enumerate() {
                directory = descend(&directory, step, make).map_err(|error| refusal(&steps[..=index], error))?;
            }
            self.last = Some((steps.iter().map(|step| step.to_vec()).collect(), directory));
        }
        Ok(self.last.as_ref().map_or(&self.directory, |(_, directory)| directory))
    }
}

fn descend(directory: &OwnedFd, step: &[u8], make: bool) -> Result<OwnedFd, Errno> {
    let step = name(step);
    let open = || openat(directory, step, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
    match open() {
        Err(Errno::NOENT) if make => {
            match mkdirat(directory, step, Mode::from(0o755)) {
                // Somebody else was faster.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            open()
        }
        // With these flags a link to a directory is told as a file is.
        Err(Errno::NOTDIR) if is_link(directory, step) => Err(Errno::LOOP),
        opened => opened,
    }
}

fn is_link(directory: &OwnedFd, step: &OsStr) -> bool {
    statat(directory, step, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)
}

/// The failure of walking through the last of `steps`.
pub(super) fn refusal(steps: &[&[u8]], error: Errno) -> Failure {
    let path = shown(steps);
    match error {
        Errno::LOOP => Failure::bad(format!("{}: is a symbolic link, which is not followed", path.display())),
        Errno::NOTDIR => Failure::bad(format!("{}: is not a directory", path.display())),
        _ => Failure::io(&path, &error.into()),
    }
}

/// The steps as a path, to be told.
pub(super) fn shown(steps: &[&[u8]]) -> PathBuf {
    steps.iter().map(|step| name(step)).collect()
}

pub(super) fn name(step: &[u8]) -> &OsStr {
    OsStr::from_bytes(step)
}

/// The steps of a name in an archive: the parts between slashes, without `.`.
///
/// # Errors
///
/// If the name is absolute, has a `..` or a zero byte, or is longer than the system allows.
pub(super) fn steps(name: &[u8]) -> Result<Vec<&[u8]>, Failure> {
    let refused = |why: &str| {
        let name = String::from_utf8_lossy(&name[..name.len().min(256)]);
        Failure::bad(format!("the archive has an entry {name:?}, {why}"))
    };
    if name.starts_with(b"/") {
        return Err(refused("whose name is absolute; write names below the directory"));
    }
    if name.len() > 4096 {
        return Err(refused("whose name has more than 4096 bytes"));
    }
    if name.contains(&0) {
        return Err(refused("whose name has a zero byte"));
    }
    let steps: Vec<_> = name.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b".")).collect();
    if steps.iter().any(|step| *step == b"..") {
        return Err(refused("whose name has a \"..\""));
    }
    if steps.iter().any(|step| step.len() > 255) {
        return Err(refused("whose name has a part of more than 255 bytes"));
    }
    Ok(steps)
}
