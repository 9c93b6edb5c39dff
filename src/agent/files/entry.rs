//! What is told about a file, as E2B's `EntryInfo`.

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt, path::Path};

use serde::Serialize;

use super::{names::Names, paths, times, xattrs};

/// The prefix of extended attributes that E2B's clients see as metadata of a file.
pub(super) const METADATA: &str = "user.e2b.";

/// One file, directory or symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// The last part of the path. Bytes that are not UTF-8 are replaced, here and in the path.
    pub(super) name: String,
    /// What a symbolic link leads to; `Symlink` if it leads nowhere.
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    pub(super) path: String,
    /// In bytes; a number in text, as JSON has 64-bit integers in this protocol.
    pub(super) size: String,
    /// The permission bits, with setuid, setgid and sticky.
    pub(super) mode: u32,
    /// As `ls -l` shows them.
    pub(super) permissions: String,
    /// The owner's name, or number where `/etc/passwd` has none.
    pub(super) owner: String,
    pub(super) group: String,
    /// RFC 3339.
    pub(super) modified_time: String,
    /// Where a symbolic link leads in the end; if that is nowhere, what it says, as it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) symlink_target: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_symlink: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: BTreeMap<String, String>,
}

/// The types that the protocol knows. Everything else, such as a device, is unspecified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Kind {
    #[serde(rename = "FILE_TYPE_UNSPECIFIED")]
    Unspecified,
    #[serde(rename = "FILE_TYPE_FILE")]
    File,
    #[serde(rename = "FILE_TYPE_DIRECTORY")]
    Directory,
    #[serde(rename = "FILE_TYPE_SYMLINK")]
    Symlink,
}

impl Kind {
    fn of(metadata: &fs::Metadata) -> Self {
        let kind = metadata.file_type();
        if kind.is_file() {
            Self::File
        } else if kind.is_dir() {
            Self::Directory
        } else if kind.is_symlink() {
            Self::Symlink
        } else {
            Self::Unspecified
        }
    }
}

impl Entry {
    /// Looks a path up; of a symbolic link, the link itself.
    pub(super) fn read(path: &Path, names: &Names) -> io::Result<Self> {
        Ok(Self::of(path, &fs::symlink_metadata(path)?, names))
    }

    /// What is told about a path whose metadata, not followed, is known.
    pub(super) fn of(path: &Path, metadata: &fs::Metadata, names: &Names) -> Self {
        let is_symlink = metadata.is_symlink();
        let target = is_symlink.then(|| fs::canonicalize(path).or_else(|_| fs::read_link(path)).ok()).flatten();
        let kind = match is_symlink.then(|| fs::metadata(path).ok()).flatten() {
            Some(beyond) => Kind::of(&beyond),
            None => Kind::of(metadata),
        };
        Self {
            name: paths::name(path),
            kind,
            path: path.to_string_lossy().into_owned(),
            size: metadata.size().to_string(),
            mode: metadata.mode() & 0o7777,
            permissions: permissions(metadata.mode()),
            owner: names.user(metadata.uid()),
            group: names.group(metadata.gid()),
            modified_time: times::rfc3339(metadata.mtime(), metadata.mtime_nsec()),
            symlink_target: target.map(|target| target.to_string_lossy().into_owned()),
            is_symlink,
            // Links and devices cannot have any.
            metadata: if metadata.is_file() || metadata.is_dir() { tags(path) } else { BTreeMap::new() },
        }
    }
}

/// What E2B's clients have attached to a file. A file system without such attributes has none.
fn tags(path: &Path) -> BTreeMap<String, String> {
    xattrs::list(path)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| {
            let key = name.to_str()?.strip_prefix(METADATA)?.to_owned();
            let value = String::from_utf8(xattrs::get(path, &name).ok()?).ok()?;
            Some((key, value))
        })
        .collect()
}

/// Type and permissions in ten characters, as `ls -l` shows them.
fn permissions(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o020_000 => 'c',
        0o060_000 => 'b',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special == 0, bits & 1 == 0) {
            (true, true) => '-',
            (true, false) => 'x',
            (false, true) => letter.to_ascii_uppercase(),
            (false, false) => letter,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::permissions;

    #[test]
    fn permissions_read_as_ls_shows_them() {
        for (mode, text) in [
            (0o100_644, "-rw-r--r--"),
            (0o040_755, "drwxr-xr-x"),
            (0o120_777, "lrwxrwxrwx"),
            (0o104_755, "-rwsr-xr-x"),
            (0o104_655, "-rwSr-xr-x"),
            (0o102_745, "-rwxr-Sr-x"),
            (0o041_777, "drwxrwxrwt"),
            (0o041_776, "drwxrwxrwT"),
            (0o010_000, "p---------"),
        ] {
            assert_eq!(permissions(mode), text);
        }
    }
}
