//! Sends single files.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::fcntl::OFlag;

use super::{failure::Failure, mounts, transfer::PIECE, tree};

/// A file that was opened to be sent.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    /// In bytes. `None` where the file cannot tell, as those of `/proc` and `/sys`.
    pub(super) size: Option<u64>,
    /// Seconds since the Unix epoch.
    pub(super) modified: i64,
}

/// What of a file is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// From one byte to another, which is the last one.
    Bytes { first: u64, last: u64 },
    /// A range that begins behind the end.
    Outside,
}

impl Opened {
    /// Opens a file; a symbolic link is followed. Devices, pipes and sockets are refused, because they have no end.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        // A pipe without a writer would hold the thread up.
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
        let file = file.map_err(|error| Failure::from(tree::missing_too(path, &error)))?;
        let metadata = file.metadata().map_err(|error| Failure::io(path, &error))?;
        if metadata.is_dir() {
            return Err(Failure::bad(format!("{}: is a directory; ask /files/archive for it", path.display())));
        }
        if !metadata.is_file() {
            return Err(Failure::bad(format!("{}: is not a regular file", path.display())));
        }
        // Files of /proc say that they are empty, and those of /sys that they fill a page.
        let size = Some(metadata.size()).filter(|size| *size > 0 && !mounts::is_virtual(path));
        Ok(Self { file, size, modified: metadata.mtime() })
    }

    /// Writes a part of the file. One that has become shorter meanwhile is an error, because its length was told already.
    pub(super) fn copy_to(mut self, part: Part, output: &mut dyn Write) -> io::Result<()> {
        let mut left = match (part, self.size) {
            (Part::Bytes { first, last }, _) => {
                self.file.seek(SeekFrom::Start(first))?;
                Some(last - first + 1)
            }
            (_, size) => size,
        };
        let mut buffer = vec![0; usize::try_from(left.unwrap_or(u64::MAX)).unwrap_or(PIECE).min(PIECE)];
        while left != Some(0) {
            let wanted = usize::try_from(left.unwrap_or(u64::MAX)).unwrap_or(PIECE).min(buffer.len());
            let read = match self.file.read(&mut buffer[..wanted]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            match left.as_mut() {
                None if read == 0 => break,
                None => {}
                Some(_) if read == 0 => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter meanwhile"));
                }
                Some(left) => *left -= read as u64,
            }
            output.write_all(&buffer[..read])?;
        }
        Ok(())
    }
}

impl Part {
    /// Reads a `Range` header for a file of this size. Several ranges at once, and other units, mean the whole file, which
    /// HTTP allows.
    pub(super) fn of(range: Option<&str>, size: u64) -> Self {
        let Some(range) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else { return Self::Whole };
        let Some((first, last)) = range.split_once('-').filter(|_| !range.contains(',')) else { return Self::Whole };
        match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
            (Ok(first), Ok(last)) if first > last => Self::Whole,
            (Ok(first), _) if first >= size => Self::Outside,
            (Ok(first), Ok(last)) => Self::Bytes { first, last: last.min(size - 1) },
            (Ok(first), Err(_)) if last.trim().is_empty() => Self::Bytes { first, last: size - 1 },
            (Err(_), Ok(0)) if first.trim().is_empty() => Self::Outside,
            (Err(_), Ok(length)) if first.trim().is_empty() && size > 0 => {
                Self::Bytes { first: size.saturating_sub(length), last: size - 1 }
            }
            (Err(_), Ok(_)) if first.trim().is_empty() => Self::Outside,
            _ => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        let bytes = |first, last| Part::Bytes { first, last };
        for (range, size, part) in [
            ("bytes=0-0", 10, bytes(0, 0)),
            ("bytes=3-", 10, bytes(3, 9)),
            ("bytes=3-99", 10, bytes(3, 9)),
            ("bytes=-4", 10, bytes(6, 9)),
            ("bytes=-40", 10, bytes(0, 9)),
            ("bytes=10-", 10, Part::Outside),
            ("bytes=-0", 10, Part::Outside),
            ("bytes=0-", 0, Part::Outside),
            ("bytes=-1", 0, Part::Outside),
            ("bytes=5-4", 10, Part::Whole),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("lines=1-2", 10, Part::Whole),
            ("bytes=x-2", 10, Part::Whole),
            ("bytes=-", 10, Part::Whole),
        ] {
            assert_eq!(Part::of(Some(range), size), part, "{range} of {size}");
        }
        assert_eq!(Part::of(None, 10), Part::Whole);
    }
}
