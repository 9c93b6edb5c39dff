//! Unpacks archives below a directory.
//!
//! Nothing is written outside of it: names are taken apart and walked from the directory without following symbolic links
//! ([`super::beneath`]), files are made anew and never opened where they stand, and a hard link leads to what is below the
//! directory, too. Devices, pipes and sockets are refused. What was unpacked before an error stays.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens, linkat, openat,
        symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};
use tar::EntryType;

use super::{
    beneath::{self, Root, name, refusal, shown},
    failure::Failure,
    headers::{Archive, Described},
    transfer::{PIECE, unreadable},
    tree, xattrs,
};

/// Whose the files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owners {
    /// Those whom the archive names, by number.
    Kept,
    /// The user's who unpacks.
    Mine,
}

/// Unpacks an archive below `directory`, which is made if it is missing. Returns the number of entries.
pub(super) fn unpack(archive: impl Read, directory: &Path, owners: Owners) -> Result<u64, Failure> {
    let existed = directory.is_dir();
    tree::make_dirs(directory)?;
    let mut unpacking = Unpacking { root: Root::open(directory)?, existed, owners, open: Vec::new() };
    let mut archive = Archive::new(archive);
    let mut entries = 0;
    while let Some(entry) = archive.next()? {
        let steps = beneath::steps(&entry.name)?;
        unpacking.leave(&steps)?;
        unpacking.entry(&mut archive, &entry, &steps)?;
        entries += 1;
    }
    unpacking.leave_all()?;
    archive.drain()?;
    Ok(entries)
}

struct Unpacking {
    root: Root,
    /// Whether the root is older than the archive, whose entry for it then changes nothing.
    existed: bool,
    owners: Owners,
    /// Directories that are being filled, each below the one before it. They get their modes and times when the archive leaves
    /// them: before, a mode may forbid to write in them, and what is written changes the time.
    open: Vec<(Vec<Vec<u8>>, Described)>,
}

impl Unpacking {
    fn entry(&mut self, archive: &mut Archive<impl Read>, entry: &Described, steps: &[&[u8]]) -> Result<(), Failure> {
        match entry.kind {
            EntryType::Directory => self.directory(entry, steps),
            EntryType::Regular | EntryType::Continuous => self.file(archive, entry, steps),
            EntryType::Symlink => self.symlink(entry, steps),
            EntryType::Link => self.hard_link(entry, steps),
            _ => Err(Failure::bad(format!(
                "{}: is no file, directory or link; devices, pipes and sockets are not unpacked",
                shown(steps).display()
            ))),
        }
    }

    fn directory(&mut self, entry: &Described, steps: &[&[u8]]) -> Result<(), Failure> {
        self.root.walk(steps, true)?;
        if steps.is_empty() && self.existed {
            return Ok(());
        }
        let directory = self.reopen(steps)?;
        attach(&directory, entry, &shown(steps))?;
        // Its names and attributes are done with, so that a deep archive does not pile them up.
        let entry = Described { xattrs: BTreeMap::new(), name: Vec::new(), link: Vec::new(), ..*entry };
        self.open.push((steps.iter().map(|step| step.to_vec()).collect(), entry));
        Ok(())
    }

    fn file(&mut self, archive: &mut Archive<impl Read>, entry: &Described, steps: &[&[u8]]) -> Result<(), Failure> {
        let path = shown(steps);
        let (parent, last) = self.place(steps)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(parent, last, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(opened.map_err(|error| refusal(steps, error))?);
        copy(archive, &mut file, entry.size, &path)?;
        self.finish(&file, entry, &path)
    }

    fn symlink(&mut self, entry: &Described, steps: &[&[u8]]) -> Result<(), Failure> {
        let owners = self.owners;
        let (parent, last) = self.place(steps)?;
        symlinkat(name(&entry.link), parent, last).map_err(|error| refusal(steps, error))?;
        if owners == Owners::Kept {
            let (uid, gid) = ids(entry);
            chownat(parent, last, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| refusal(steps, error))?;
        }
        utimensat(parent, last, &times(entry), AtFlags::SYMLINK_NOFOLLOW).map_err(|error| refusal(steps, error))
    }

    fn hard_link(&mut self, entry: &Described, steps: &[&[u8]]) -> Result<(), Failure> {
        let target = beneath::steps(&entry.link)?;
        let Some((target_last, target_parents)) = target.split_last() else {
            return Err(Failure::bad(format!("{}: is a link to a directory", shown(steps).display())));
        };
        if target == steps {
            return Err(Failure::bad(format!("{}: is a link to itself", shown(steps).display())));
        }
        let from = self.root.walk(target_parents, false)?.try_clone();
        let from = from.map_err(|error| Failure::io(&shown(target_parents), &error))?;
        let (parent, last) = self.place(steps)?;
        // Without flags, a symbolic link is linked itself.
        linkat(&from, name(target_last), parent, last, AtFlags::empty()).map_err(|error| refusal(steps, error))
    }

    /// The directory and name where an entry is made. What stands there gives way, unless it is a directory.
    fn place<'a>(&mut self, steps: &[&'a [u8]]) -> Result<(&OwnedFd, &'a OsStr), Failure> {
        let Some((last, parents)) = steps.split_last() else {
            return Err(Failure::bad("the archive has a file in the place of the directory itself"));
        };
        let parent = self.root.walk(parents, true)?;
        match unlinkat(parent, name(last), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok((parent, name(last))),
            Err(Errno::ISDIR) => {
                Err(Failure::bad(format!("{}: is a directory, which a file does not replace", shown(steps).display())))
            }
            Err(error) => Err(refusal(steps, error)),
        }
    }

    /// Finishes the directories that `steps` are not below.
    fn leave(&mut self, steps: &[&[u8]]) -> Result<(), Failure> {
        while let Some((open, _)) = self.open.last() {
            let is_below = steps.len() >= open.len() && open.iter().zip(steps).all(|(open, step)| open == step);
            // The same directory again: what is said last counts.
            if is_below && steps.len() > open.len() {
                return Ok(());
            }
            self.close_last()?;
        }
        Ok(())
    }

    fn leave_all(&mut self) -> Result<(), Failure> {
        while !self.open.is_empty() {
            self.close_last()?;
        }
        Ok(())
    }

    fn close_last(&mut self) -> Result<(), Failure> {
        let Some((open, entry)) = self.open.pop() else { return Ok(()) };
        let steps: Vec<_> = open.iter().map(Vec::as_slice).collect();
        let directory = self.reopen(&steps)?;
        self.finish(&directory, &entry, &shown(&steps))
    }

    /// Opens a directory for more than to walk through it.
    fn reopen(&mut self, steps: &[&[u8]]) -> Result<OwnedFd, Failure> {
        let found = self.root.walk(steps, false)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(found, ".", flags, Mode::empty()).map_err(|error| refusal(steps, error))
    }

    /// Gives a file or directory what the archive says of it. Setting an owner clears some of the mode and of the attributes,
    /// so it comes first; the time comes last.
    fn finish(&self, file: impl AsFd, entry: &Described, path: &Path) -> Result<(), Failure> {
        let failed = |error: Errno| Failure::io(path, &error.into());
        if self.owners == Owners::Kept {
            let (uid, gid) = ids(entry);
            fchown(&file, Some(uid), Some(gid)).map_err(failed)?;
        }
        fchmod(&file, Mode::from(entry.mode)).map_err(failed)?;
        attach(&file, entry, path)?;
        futimens(&file, &times(entry)).map_err(failed)
    }
}

/// Sets extended attributes. One that this file system or user cannot set is left out, as tar does.
fn attach(file: impl AsFd, entry: &Described, path: &Path) -> Result<(), Failure> {
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| xattrs::travels(name)) {
        xattrs::set(&file, name, value).map_err(|error| Failure::io(path, &error))?;
    }
    Ok(())
}

/// Writes the content of an entry, which has `size` bytes.
fn copy(archive: &mut Archive<impl Read>, file: &mut File, size: u64, path: &Path) -> Result<(), Failure> {
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(PIECE).min(PIECE)];
    loop {
        // The archive tells where the entry ends.
        let read = archive.read(&mut buffer).map_err(|error| unreadable(&error))?;
        if read == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..read]).map_err(|error| Failure::io(path, &error))?;
    }
}

fn ids(entry: &Described) -> (Uid, Gid) {
    (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid))
}

fn times(entry: &Described) -> Timestamps {
    let (tv_sec, tv_nsec) = entry.mtime;
    let time = Timespec { tv_sec, tv_nsec };
    Timestamps { last_access: time, last_modification: time }
}
