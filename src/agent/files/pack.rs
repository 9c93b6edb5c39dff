//! Packs files and directories as tar archives, in the PAX format.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use tar::{EntryType, Header};

use super::{failure::Failure, headers::XATTR, mounts, names::Names, times, transfer::PIECE, tree, xattrs};

/// How many files with several names are remembered, so that the second name becomes a link. More of them are packed twice.
const LINKS_BOUND: usize = 100_000;

/// The largest number that fits a header's size and time: eleven octal digits.
const SIZE_BOUND: u64 = 0o77_777_777_777;

/// The same of user and group ids: seven digits.
const ID_BOUND: u32 = 0o7_777_777;

/// What is to be packed.
#[derive(Debug)]
pub(super) struct Packing {
    path: PathBuf,
    metadata: Metadata,
    /// What it is called in the archive.
    name: Vec<u8>,
}

impl Packing {
    /// Looks a path up. A symbolic link is packed as a link.
    ///
    /// `name` is what it is called in the archive; its own name without it. The root directory's, and one that is `.`, is left
    /// out of the names below it.
    pub(super) fn prepare(path: &Path, name: Option<&str>) -> Result<Self, Failure> {
        let metadata = fs::symlink_metadata(path).map_err(|error| Failure::from(tree::missing_too(path, &error)))?;
        if !(metadata.is_file() || metadata.is_dir() || metadata.is_symlink()) {
            return Err(Failure::bad(format!("{}: is no file, directory or link", path.display())));
        }
        if metadata.is_dir() {
            // Whether it may be read is told before the archive begins.
            fs::read_dir(path).map_err(|error| Failure::io(path, &error))?;
        }
        let own = path.file_name().map_or(&b"."[..], OsStrExt::as_bytes);
        let name = name.map_or(own, str::as_bytes);
        if name.is_empty() || name == b".." || name.contains(&b'/') {
            return Err(Failure::bad("name: must be a name without slashes, or \".\""));
        }
        Ok(Self { path: path.to_owned(), metadata, name: name.to_vec() })
    }

    /// Writes the archive.
    pub(super) fn write(self, output: &mut dyn Write) -> io::Result<()> {
        let mut writer = Writer { output, names: Names::default(), links: HashMap::new() };
        let device = self.metadata.dev();
        // The paths still to pack, the next one last.
        let mut waiting = vec![(self.path, self.name, Some(self.metadata))];
        while let Some((path, name, metadata)) = waiting.pop() {
            let metadata = match metadata.map_or_else(|| fs::symlink_metadata(&path), Ok) {
                Ok(metadata) => metadata,
                // Somebody has removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(about(&path, &error)),
            };
            if is_special(&metadata) || metadata.dev() != device && mounts::is_virtual(&path) {
                continue;
            }
            match writer.entry(&path, &name, &metadata) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                written => written?,
            }
            if metadata.is_dir() {
                let below = match below(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    below => below.map_err(|error| about(&path, &error))?,
                };
                waiting.extend(below.into_iter().rev().map(|path| {
                    let last = path.file_name().unwrap_or_default().as_bytes();
                    let name = if name == b"." { last.to_vec() } else { [&name, &b"/"[..], last].concat() };
                    (path, name, None)
                }));
            }
        }
        // Two empty blocks end an archive.
        writer.output.write_all(&[0; 1024])
    }
}

struct Writer<'a> {
    output: &'a mut dyn Write,
    names: Names,
    /// Names of files that have more than one, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl Writer<'_> {
    fn entry(&mut self, path: &Path, name: &[u8], metadata: &Metadata) -> io::Result<()> {
        if metadata.is_dir() {
            let name = if name == b"." { b"./".to_vec() } else { [name, b"/"].concat() };
            return self.header(path, &name, metadata, EntryType::Directory, 0, b"");
        }
        let inode = (metadata.dev(), metadata.ino());
        if metadata.nlink() > 1
            && let Some(first) = self.links.get(&inode).cloned()
        {
            return self.header(path, name, metadata, EntryType::Link, 0, &first);
        }
        if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(|error| about(path, &error))?;
            self.header(path, name, metadata, EntryType::Symlink, 0, target.as_os_str().as_bytes())?;
        } else {
            // What took its place meanwhile is not followed, and does not hold the thread up.
            let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
            let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
            let file = file.map_err(|error| about(path, &error))?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Ok(());
            }
            self.header(path, name, &metadata, EntryType::Regular, metadata.size(), b"")?;
            self.content(path, file, metadata.size())?;
        }
        if metadata.nlink() > 1 && self.links.len() < LINKS_BOUND {
            self.links.insert(inode, name.to_vec());
        }
        Ok(())
    }

    fn header(
        &mut self,
        path: &Path,
        name: &[u8],
        metadata: &Metadata,
        kind: EntryType,
        size: u64,
        link: &[u8],
    ) -> io::Result<()> {
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        header.set_entry_type(kind);
        header.set_mode(metadata.mode() & 0o7777);
        let as_old = header.as_old_mut();
        fill(&mut as_old.name, name, "path", &mut records);
        fill(&mut as_old.linkname, link, "linkpath", &mut records);
        header.set_size(size.min(SIZE_BOUND));
        if size > SIZE_BOUND {
            record(&mut records, "size", size.to_string().as_bytes());
        }
        header.set_uid(metadata.uid().min(ID_BOUND).into());
        header.set_gid(metadata.gid().min(ID_BOUND).into());
        for (key, id) in [("uid", metadata.uid()), ("gid", metadata.gid())] {
            if id > ID_BOUND {
                record(&mut records, key, id.to_string().as_bytes());
            }
        }
        // Names that are too long for a header are left out: the numbers count.
        _ = header.set_username(&self.names.user(metadata.uid()));
        _ = header.set_groupname(&self.names.group(metadata.gid()));
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        header.set_mtime(u64::try_from(seconds).unwrap_or(0).min(SIZE_BOUND));
        let fits = u64::try_from(seconds).is_ok_and(|seconds| seconds <= SIZE_BOUND);
        if nanoseconds != 0 || !fits {
            record(&mut records, "mtime", times::decimal(seconds, nanoseconds).as_bytes());
        }
        if matches!(kind, EntryType::Regular | EntryType::Directory) {
            // A file system without them has none.
            let attributes = xattrs::list(path).unwrap_or_default();
            for attribute in attributes.iter().filter(|name| xattrs::travels(name.as_bytes())) {
                if let Ok(value) = xattrs::get(path, attribute) {
                    let key = format!("{XATTR}{}", attribute.to_string_lossy());
                    record(&mut records, &key, &value);
                }
            }
        }
        if !records.is_empty() {
            let mut extended = Header::new_ustar();
            extended.set_entry_type(EntryType::XHeader);
            extended.set_mode(0o644);
            extended.set_uid(0);
            extended.set_gid(0);
            extended.set_mtime(0);
            extended.set_size(records.len() as u64);
            fill(&mut extended.as_old_mut().name, b"PaxHeaders/entry", "", &mut Vec::new());
            extended.set_cksum();
            self.output.write_all(extended.as_bytes())?;
            self.output.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        header.set_cksum();
        self.output.write_all(header.as_bytes())
    }

    /// Writes as many bytes as the header has told. A file that grows is cut; one that shrinks cannot be packed.
    fn content(&mut self, path: &Path, file: File, size: u64) -> io::Result<()> {
        let mut buffer = vec![0; usize::try_from(size).unwrap_or(PIECE).min(PIECE)];
        let (mut file, mut left) = (file.take(size), size);
        while left > 0 {
            match file.read(&mut buffer) {
                Ok(0) => {
                    let message = format!("{}: the file has become shorter meanwhile", path.display());
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
                Ok(read) => {
                    self.output.write_all(&buffer[..read])?;
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(about(path, &error)),
            }
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or_default();
        self.output.write_all(&[0; 512][..padding])
    }
}

/// Puts a text into a field of a header, and into a record of its own if it does not fit.
fn fill(field: &mut [u8], text: &[u8], key: &str, records: &mut Vec<u8>) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    if text.len() > field.len() {
        record(records, key, text);
    }
}

/// Appends a record of a PAX header, whose length counts its own digits.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Devices, pipes and sockets are not packed.
fn is_special(metadata: &Metadata) -> bool {
    let kind = metadata.file_type();
    kind.is_socket() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device()
}

/// What is in a directory, in the order of the names.
fn below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<_> =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// The error, with the path that it is about.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
