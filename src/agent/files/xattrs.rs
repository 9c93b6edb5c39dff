//! Extended attributes of a path that is not followed.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::AsFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
};

use rustix::{
    fs::{
        XattrFlags, flistxattr, flistxattr_query, fremovexattr, fsetxattr, lgetxattr, lgetxattr_query, llistxattr,
        llistxattr_query,
    },
    io::Errno,
};

/// The names of all attributes.
pub(super) fn list(path: &Path) -> io::Result<Vec<OsString>> {
    let names = whole(|| llistxattr_query(path), |buffer| llistxattr(path, buffer))?;
    Ok(names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect())
}

/// Removes the attributes of an open file whose names begin with `prefix`. A file system without attributes has none.
pub(super) fn clear(file: impl AsFd, prefix: &[u8]) -> io::Result<()> {
    let names = match whole(|| flistxattr_query(&file), |buffer| flistxattr(&file, buffer)) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(Errno::NOTSUP.raw_os_error()) => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && name.starts_with(prefix)) {
        match fremovexattr(&file, OsStr::from_bytes(name)) {
            // Somebody else has removed it.
            Ok(()) | Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The value of an attribute.
pub(super) fn get(path: &Path, name: &OsStr) -> io::Result<Vec<u8>> {
    whole(|| lgetxattr_query(path, name), |buffer| lgetxattr(path, name, buffer))
}

/// Sets an attribute of an open file, and tells whether the file could take it: some file systems know no attributes, and some
/// attributes are root's to set.
pub(super) fn set(file: impl AsFd, name: &[u8], value: &[u8]) -> io::Result<bool> {
    match fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether an attribute goes with a file into another place. Labels of security modules and notes of file systems do not.
pub(super) fn travels(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_") || name == b"security.capability"
}

/// Reads what another process may be changing: it is asked again until it fits.
fn whole(
    size: impl Fn() -> rustix::io::Result<usize>,
    read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<u8>> {
    loop {
        let size = size()?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = vec![0; size];
        match read(&mut buffer) {
            Ok(read) => {
                buffer.truncate(read);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
