//! Paths as clients write them.

use std::path::{Path, PathBuf};

use crate::{connect::Error, users::User};

/// The absolute path that a client means: relative ones start at the user's home, and so does `~`.
///
/// `..` is left to the kernel, which knows where symbolic links lead.
///
/// # Errors
///
/// `invalid_argument` for a zero byte and for another user's home (`~name`).
pub(super) fn resolve(path: &str, user: &User) -> Result<PathBuf, Error> {
    if path.contains('\0') {
        return Err(Error::invalid("path: must not contain a zero byte"));
    }
    let home: &Path = user.home.as_ref();
    let path = match path.strip_prefix('~') {
        None => Path::new(path),
        Some("") => home,
        Some(rest) if rest.starts_with('/') => return Ok(plain(&home.join(rest.trim_start_matches('/')))),
        Some(_) => return Err(Error::invalid("path: only ~ and ~/… are expanded; for a file of that name write ./~…")),
    };
    Ok(plain(&home.join(path)))
}

/// The same path without `.`, doubled slashes, and one at the end.
fn plain(path: &Path) -> PathBuf {
    Path::new("/").join(path).components().collect()
}

/// The last part of a path; the root's is `/`.
pub(super) fn name(path: &Path) -> String {
    path.components().next_back().map_or_else(String::new, |last| last.as_os_str().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(path: &str) -> Result<String, String> {
        let mut user = User::find("").unwrap();
        user.home = "/home/ada".into();
        resolve(path, &user).map(|path| path.display().to_string()).map_err(|error| error.message)
    }

    #[test]
    fn relative_paths_and_the_tilde_start_at_the_users_home() {
        for (path, expected) in [
            ("", "/home/ada"),
            ("~", "/home/ada"),
            ("~/", "/home/ada"),
            ("~//x", "/home/ada/x"),
            ("a/./b//c/", "/home/ada/a/b/c"),
            ("../x", "/home/ada/../x"),
            ("./~x", "/home/ada/~x"),
            ("/", "/"),
            ("/etc//hosts", "/etc/hosts"),
            ("/a/../b", "/a/../b"),
        ] {
            assert_eq!(resolved(path).as_deref(), Ok(expected), "{path:?}");
        }
    }

    #[test]
    fn zero_bytes_and_homes_of_others_are_refused_with_the_fields_name() {
        assert!(resolved("a\0b").unwrap_err().starts_with("path: "));
        assert!(resolved("~bob/x").unwrap_err().starts_with("path: "));
    }

    #[test]
    fn the_name_is_the_last_part() {
        assert_eq!(name(Path::new("/a/b")), "b");
        assert_eq!(name(Path::new("/")), "/");
        assert_eq!(name(Path::new("/a/..")), "..");
    }
}
