//! Reads the headers of a tar archive: ustar, PAX and GNU's long names.
//!
//! What precedes an entry to describe it is bounded, so that an archive cannot make the agent hold more than that.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use tar::{EntryType, Header};

use super::{failure::Failure, times, transfer::unreadable};

/// How long the description of one entry may be, in bytes: its names and extended attributes.
const DESCRIPTION_BOUND: u64 = 1 << 20;

const BLOCK: u64 = 512;

/// The prefix of extended attributes in PAX headers, as GNU tar and libarchive write them.
pub(super) const XATTR: &str = "SCHILY.xattr.";

/// What an archive says about an entry.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) kind: EntryType,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    /// Permission bits, with setuid, setgid and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds since the Unix epoch.
    pub(super) mtime: (i64, i64),
    /// By their names.
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Reads an archive.
pub(super) struct Archive<R> {
    input: R,
    /// What is left of the entry that was read last, and of its last block.
    left: u64,
    padding: u64,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0 }
    }

    /// The next entry, after which [`Read`] reads its content. What was not read of the last one is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Described>, Failure> {
        let mut long = Long::default();
        loop {
            let Some(header) = self.header()? else {
                return if long.is_empty() { Ok(None) } else { Err(Failure::bad("the archive breaks off")) };
            };
            let size = header.entry_size().map_err(|error| malformed(&error))?;
            self.announce(size);
            match header.entry_type() {
                EntryType::XHeader => long.pax = self.description(size)?,
                EntryType::GNULongName => long.name = Some(self.description(size)?),
                EntryType::GNULongLink => long.link = Some(self.description(size)?),
                // For all entries that follow; nothing that matters here is ever said there.
                EntryType::XGlobalHeader => drop(self.description(size)?),
                _ => {
                    let described = long.describe(&header, size)?;
                    self.announce(described.size);
                    return Ok(Some(described));
                }
            }
        }
    }

    /// Reads to the end of the body, which may be padded.
    pub(super) fn drain(mut self) -> Result<(), Failure> {
        io::copy(&mut self.input, &mut io::sink()).map(drop).map_err(|error| unreadable(&error))
    }

    fn announce(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
    }

    fn header(&mut self) -> Result<Option<Header>, Failure> {
        self.skip()?;
        let mut header = Header::new_old();
        let mut filled = 0;
        let block = header.as_mut_bytes();
        while filled < block.len() {
            match self.input.read(&mut block[filled..]) {
                // Some writers leave out the two empty blocks at the end.
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(Failure::bad("the archive breaks off")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&error)),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The checksum counts its own field as spaces.
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let field: u32 = block[148..156].iter().map(|byte| u32::from(*byte)).sum();
        let told = header.cksum().map_err(|error| malformed(&error))?;
        if sum - field + 8 * u32::from(b' ') != told {
            return Err(Failure::bad("the body is no tar archive: the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    fn description(&mut self, size: u64) -> Result<Vec<u8>, Failure> {
        if size > DESCRIPTION_BOUND {
            let message = format!("the archive describes an entry with {size} bytes; {DESCRIPTION_BOUND} are allowed");
            return Err(Failure::bad(message));
        }
        let mut description = Vec::new();
        self.take(size).read_to_end(&mut description).map_err(|error| unreadable(&error))?;
        if description.len() as u64 != size {
            return Err(Failure::bad("the archive breaks off"));
        }
        Ok(description)
    }

    fn skip(&mut self) -> Result<(), Failure> {
        let left = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut self.input.by_ref().take(left), &mut io::sink());
        match skipped.map_err(|error| unreadable(&error))? {
            skipped if skipped == left => Ok(()),
            _ => Err(Failure::bad("the archive breaks off")),
        }
    }
}

/// Reads the content of the entry that was described last.
impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.input.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive breaks off"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// What precedes an entry to describe it.
#[derive(Default)]
struct Long {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Vec<u8>,
}

impl Long {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.link.is_none() && self.pax.is_empty()
    }

    fn describe(self, header: &Header, size: u64) -> Result<Described, Failure> {
        let number = |number: io::Result<u64>| number.map_err(|error| malformed(&error));
        let id =
            |number: u64| u32::try_from(number).map_err(|_| Failure::bad("the archive has an owner that is too big"));
        let text = |text: Vec<u8>| text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        let mtime = i64::try_from(number(header.mtime())?).unwrap_or(i64::MAX);
        let mut described = Described {
            kind: header.entry_type(),
            name: self.name.map_or_else(|| header.path_bytes().into_owned(), text),
            link: self.link.map_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned(), text),
            size,
            mode: header.mode().map_err(|error| malformed(&error))? & 0o7777,
            uid: id(number(header.uid())?)?,
            gid: id(number(header.gid())?)?,
            mtime: (mtime, 0),
            xattrs: BTreeMap::new(),
        };
        for record in Records(&self.pax) {
            let (key, value) = record?;
            let number = || -> Result<u64, Failure> {
                let number = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                number.ok_or_else(|| Failure::bad(format!("the archive has a wrong number for {key}")))
            };
            match key {
                "path" => described.name = value.to_vec(),
                "linkpath" => described.link = value.to_vec(),
                "size" => described.size = number()?,
                "uid" => described.uid = id(number()?)?,
                "gid" => described.gid = id(number()?)?,
                "mtime" => {
                    let time = std::str::from_utf8(value).ok().and_then(times::parse);
                    described.mtime = time.ok_or_else(|| Failure::bad("the archive has a wrong number for mtime"))?;
                }
                _ if key.starts_with("GNU.sparse.") => return Err(sparse()),
                _ => {
                    if let Some(name) = key.strip_prefix(XATTR) {
                        described.xattrs.insert(name.as_bytes().to_vec(), value.to_vec());
                    }
                }
            }
        }
        if described.kind.is_gnu_sparse() {
            return Err(sparse());
        }
        // The oldest format has no type for directories.
        if described.kind.is_file() && described.name.ends_with(b"/") {
            described.kind = EntryType::Directory;
        }
        // Whatever a header says, only files have content.
        if described.kind.is_hard_link() || described.kind.is_symlink() || described.kind.is_dir() {
            described.size = 0;
        }
        Ok(described)
    }
}

fn sparse() -> Failure {
    Failure::bad("the archive has a sparse file; make it without --sparse")
}

fn malformed(error: &io::Error) -> Failure {
    Failure::bad(format!("the archive has a header that cannot be read: {error}"))
}

/// The records of a PAX header: `LENGTH KEY=VALUE` and a line feed each, where the length counts all of that. Values are bytes.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a str, &'a [u8]), Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        // Some writers fill the block with zeros and count them.
        if self.0.iter().all(|byte| *byte == 0) {
            return None;
        }
        let record = self.split();
        if record.is_none() {
            self.0 = &[];
        }
        Some(record.ok_or_else(|| Failure::bad("the archive has a PAX header that cannot be read")))
    }
}

impl<'a> Records<'a> {
    fn split(&mut self) -> Option<(&'a str, &'a [u8])> {
        let space = self.0.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&self.0[..space]).ok()?.parse().ok()?;
        let record = self.0.get(space + 1..length)?.strip_suffix(b"\n")?;
        self.0 = &self.0[length..];
        let equals = record.iter().position(|byte| *byte == b'=')?;
        Some((std::str::from_utf8(&record[..equals]).ok()?, &record[equals + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records_are_cut_by_their_length_and_not_at_line_feeds() {
        let records: Vec<_> = Records(b"11 k=a\nb\nc\n10 x==y=\n\n\0\0").map(Result::unwrap).collect();
        assert_eq!(records, [("k", &b"a\nb\nc"[..]), ("x", b"=y=\n")]);
        for broken in [&b"99 k=v\n"[..], b"5 k=v\n", b"x k=v\n", b"8 k=vv\n", b"5 kv\n", b"1 k=v\n", b"-7 k=v\n"] {
            assert!(Records(broken).any(|record| record.is_err()), "{broken:?}");
        }
    }
}
