//! `sandglass cp`: files and directories in both directions, as tar in between.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use anyhow::Context;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Body, Method};
use serde_json::Value;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::{JoinHandle, spawn_blocking},
};

use super::super::{
    args::Copy,
    client::{Client, Failed},
    watch::Refused,
};

const AHEAD: usize = 8;
const PART: usize = 64 * 1024;

/// One side of a copy.
#[derive(Debug, PartialEq)]
enum Side {
    Here(PathBuf),
    Inside { sandbox: String, path: String },
}

impl Side {
    /// `ID:PATH` is inside; a path here that has a colon is told by `./` before it.
    fn of(text: &str) -> Self {
        match text.split_once(':') {
            Some((sandbox, path)) if !sandbox.is_empty() && !sandbox.contains('/') && !sandbox.starts_with('.') => {
                let path = if path.is_empty() { "." } else { path };
                Self::Inside { sandbox: sandbox.to_owned(), path: path.to_owned() }
            }
            _ => Self::Here(text.into()),
        }
    }
}

/// Copies from one side to the other.
pub(in crate::cli) async fn cp(args: Copy) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    let user = args.user.as_deref();
    match (Side::of(&args.source), Side::of(&args.destination)) {
        (Side::Here(from), Side::Inside { sandbox, path }) => {
            Transfer { client, sandbox, user, bar: bar(args.quiet) }.put(&from, &path).await
        }
        (Side::Inside { sandbox, path }, Side::Here(to)) => {
            Transfer { client, sandbox, user, bar: bar(args.quiet) }.get(&path, &to).await
        }
        (Side::Here(_), Side::Here(_)) => Err(Refused("one side has to be in a sandbox: ID:PATH".to_owned()).into()),
        (Side::Inside { .. }, Side::Inside { .. }) => {
            Err(Refused("one side has to be here: copy in two steps".to_owned()).into())
        }
    }
}

/// A file here cannot be read or written.
fn on_disk(error: &io::Error) -> Refused {
    Refused(error.to_string())
}

/// A bar on a terminal, nothing elsewhere.
fn bar(quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

struct Transfer<'a> {
    client: Client,
    sandbox: String,
    user: Option<&'a str>,
    bar: ProgressBar,
}

impl Transfer<'_> {
    fn query<'q>(&'q self, path: &'q str, flag: &'q str) -> Vec<(&'q str, &'q str)> {
        let mut query = vec![("path", path), (flag, "true")];
        query.extend(self.user.map(|user| ("user", user)));
        query
    }

    /// What stands at a path inside; `None`: nothing.
    async fn stat(&self, path: &str) -> Result<Option<Value>, Refused> {
        let request = self.client.request(Method::GET, &self.sandbox, &["files"]).query(&self.query(path, "stat"));
        match self.client.send(request).await {
            Ok(answer) => Ok(answer.json().await.ok()),
            Err(Failed { code, .. }) if code == "not_found" => {
                // Either there is no such path, or no such sandbox.
                self.client.send(self.client.request(Method::GET, &self.sandbox, &[])).await?;
                Ok(None)
            }
            Err(failed) => Err(failed.into()),
        }
    }

    fn no_directory(&self, path: &str) -> Refused {
        Refused(format!("{path}: no such directory in sandbox {}", self.sandbox))
    }

    async fn put(self, from: &Path, path: &str) -> anyhow::Result<()> {
        let metadata = fs::metadata(from).map_err(|error| Refused(format!("{}: {error}", from.display())))?;
        let standing = self.stat(path).await?;
        let is_directory = metadata.is_dir();
        let (directory, name) = match standing {
            Some(entry) if entry["type"] == "directory" => {
                // Without a name of its own, only what is in it.
                let name = if is_directory && means_contents(from) { PathBuf::new() } else { name_of(from)? };
                (path.to_owned(), name)
            }
            Some(_) if is_directory => return Err(Refused(format!("{path} is no directory")).into()),
            None if path.ends_with('/') && !is_directory => return Err(self.no_directory(path).into()),
            standing => {
                let path = Path::new(path);
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let parent = parent.display().to_string();
                if standing.is_none() && self.stat(&parent).await?.is_none() {
                    return Err(self.no_directory(&parent).into());
                }
                (parent, path.file_name().context("the destination has no name")?.into())
            }
        };
        self.bar.set_length(size_of(from, &metadata));
        self.bar.set_message(format!("{} →", from.file_name().unwrap_or(from.as_os_str()).display()));
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (from, bar) = (from.to_owned(), self.bar.clone());
        let packed: JoinHandle<io::Result<()>> = spawn_blocking(move || {
            let packed = pack(&from, &name, Pipe { sender: sender.clone(), bar });
            if let Err(error) = &packed {
                // Half a tar must not be taken for a whole one.
                let _ = sender.blocking_send(Err(io::Error::other(error.to_string())));
            }
            packed
        });
        let request = self
            .client
            .request(Method::PUT, &self.sandbox, &["files"])
            .query(&self.query(&directory, "tar"))
            .query(&[("owners", "user")])
            .body(Body::wrap_stream(parts(receiver)));
        let sent = self.client.send(request).await;
        // What could not be read here is the cause of what the server then says.
        let packed = packed.await?;
        match sent {
            Err(_) if packed.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) => {}
            sent => drop(sent.map_err(Refused::from)?),
        }
        packed.map_err(|error| on_disk(&error))?;
        self.bar.finish();
        Ok(())
    }

    async fn get(self, path: &str, to: &Path) -> anyhow::Result<()> {
        let Some(entry) = self.stat(path).await? else {
            return Err(Refused(format!("{path}: no such file or directory in sandbox {}", self.sandbox)).into());
        };
        let own_name = own_name(entry["name"].as_str().unwrap_or_default())?;
        let is_directory = entry["type"] == "directory";
        let target = if to.is_dir() {
            // A name that ends with a dot has no last part to rename; `canonicalize` gives it one.
            if is_directory && means_contents(Path::new(path)) { fs::canonicalize(to)? } else { to.join(&own_name) }
        } else if is_directory && to.exists() {
            return Err(Refused(format!("{} is no directory", to.display())).into());
        } else if !is_directory && to.as_os_str().as_bytes().ends_with(b"/") {
            return Err(Refused(format!("{}: no such directory", to.display())).into());
        } else {
            to.to_owned()
        };
        if let Some(size) = entry["size"].as_u64().filter(|_| entry["type"] == "file") {
            self.bar.set_length(size);
        }
        self.bar.set_message(format!("{own_name} →"));
        let request = self.client.request(Method::GET, &self.sandbox, &["files"]).query(&self.query(path, "tar"));
        let mut response = self.client.send(request).await.map_err(Refused::from)?;
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
        let unpacked: JoinHandle<io::Result<()>> =
            spawn_blocking(move || unpack(Incoming { receiver, rest: Bytes::new() }, &target));
        loop {
            let part = match response.chunk().await {
                Ok(Some(part)) => Ok(part),
                Ok(None) => break,
                Err(error) => Err(io::Error::other(error)),
            };
            let failed = part.is_err();
            self.bar.inc(part.as_ref().map_or(0, |part| part.len() as u64));
            if sender.send(part).await.is_err() || failed {
                break;
            }
        }
        drop(sender);
        unpacked.await?.map_err(|error| on_disk(&error))?;
        self.bar.finish();
        Ok(())
    }
}

/// Whether not the directory itself is copied, but what is in it: its path ends with a dot, as `docker cp` has it.
fn means_contents(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    path == b"." || path.ends_with(b"/.")
}

/// The name under which a path is copied.
fn name_of(path: &Path) -> anyhow::Result<PathBuf> {
    let whole = fs::canonicalize(path)?;
    Ok(whole.file_name().context("the root has no name")?.into())
}

/// The name that a sandbox tells of a path, under which it is copied; of the root, `files`.
///
/// The sandbox may tell anything: a name that is more than one part would lead outside of the destination.
fn own_name(told: &str) -> Result<String, Refused> {
    let mut parts = Path::new(told).components();
    match (parts.next(), parts.next()) {
        (None | Some(Component::RootDir), None) => Ok("files".to_owned()),
        (Some(Component::Normal(name)), None) if name == told => Ok(told.to_owned()),
        _ => Err(Refused(format!("the sandbox tells a name that leads outside: {told:?}"))),
    }
}

/// The bytes of all files below a path.
fn size_of(path: &Path, metadata: &fs::Metadata) -> u64 {
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(size_of(&entry.path(), &entry.metadata().ok()?))).sum()
}

/// Writes a file or a directory as tar, under the name `name`.
fn pack(from: &Path, name: &Path, pipe: Pipe) -> io::Result<()> {
    let mut tar = tar::Builder::new(pipe);
    tar.follow_symlinks(false);
    if fs::metadata(from)?.is_dir() {
        tar.append_dir_all(name, from)?;
    } else {
        // The file itself, also where a link leads to it.
        tar.append_file(name, &mut fs::File::open(from)?)?;
    }
    tar.into_inner()?.flush()
}

/// Unpacks a tar whose one top entry becomes `target`. Nothing is written outside of that: names are followed only downwards.
fn unpack(from: impl Read, target: &Path) -> io::Result<()> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = target.file_name().ok_or_else(|| io::Error::other("the destination has no name"))?;
    let parent = fs::canonicalize(parent)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", parent.display())))?;
    let mut archive = tar::Archive::new(from);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let below: PathBuf = entry.path()?.components().filter(|part| *part != Component::CurDir).skip(1).collect();
        let path = if below.as_os_str().is_empty() { PathBuf::from(name) } else { Path::new(name).join(below) };
        if path.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(io::Error::other(format!("the sandbox sent a name that leads outside: {}", path.display())));
        }
        unpack_entry(&mut entry, &parent, &path)?;
    }
    Ok(())
}

/// Unpacks one entry below `parent`, through no link that the archive may have made.
fn unpack_entry(entry: &mut tar::Entry<'_, impl Read>, parent: &Path, path: &Path) -> io::Result<()> {
    let target = parent.join(path);
    let mut above = parent.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        above.push(part);
        match fs::symlink_metadata(&above) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(io::Error::other(format!("{} is no directory", above.display()))),
            Err(_) => fs::create_dir(&above)?,
        }
    }
    if entry.header().entry_type().is_hard_link() {
        return Err(io::Error::other(format!("{} is a hard link, which is not copied", path.display())));
    }
    entry.unpack(&target).map(drop)
}

/// What is written goes out as parts of the body.
struct Pipe {
    sender: Sender<io::Result<Bytes>>,
    bar: ProgressBar,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = Bytes::copy_from_slice(&bytes[..bytes.len().min(PART)]);
        let length = part.len();
        self.sender.blocking_send(Ok(part)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.bar.inc(length as u64);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn parts(receiver: Receiver<io::Result<Bytes>>) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    futures_util::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })
}

/// The parts of an answer, to be read.
struct Incoming {
    receiver: Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(part) => self.rest = part?,
                None => return Ok(0),
            }
        }
        let length = self.rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_with_an_id_and_a_colon_is_inside() {
        let inside = |sandbox: &str, path: &str| Side::Inside { sandbox: sandbox.to_owned(), path: path.to_owned() };
        assert_eq!(Side::of("i1:/tmp/a:b"), inside("i1", "/tmp/a:b"));
        assert_eq!(Side::of("i1:"), inside("i1", "."));
        for here in ["/tmp/a:b", "./i1:a", "a", ":a"] {
            assert_eq!(Side::of(here), Side::Here(here.into()));
        }
    }

    #[test]
    fn a_name_from_a_sandbox_leads_nowhere_else() {
        for (told, name) in [("a", "a"), ("..a", "..a"), ("", "files"), ("/", "files")] {
            assert_eq!(own_name(told).unwrap(), name);
        }
        for told in ["..", ".", "../../x", "/etc/x", "a/../../x", "a/b", "a/", "a/."] {
            assert!(own_name(told).is_err(), "{told}");
        }
    }

    #[test]
    fn a_tar_from_a_sandbox_writes_nothing_outside() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("in/here");
        fs::create_dir(directory.path().join("in")).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, kind, link: Option<&str>| {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_mode(0o755);
            if let Some(link) = link {
                header.set_link_name_literal(link).unwrap();
            }
            header.set_cksum();
            tar.append(&header, io::empty()).unwrap();
        };
        add("top/", tar::EntryType::Directory, None);
        add("top/away", tar::EntryType::Symlink, Some("../.."));
        add("top/away/evil", tar::EntryType::Regular, None);
        let bytes = tar.into_inner().unwrap();
        let error = unpack(bytes.as_slice(), &target).unwrap_err().to_string();
        assert!(error.contains("no directory"), "{error}");
        assert!(!directory.path().join("evil").exists());
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..11].copy_from_slice(b"top/../evil");
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, io::empty()).unwrap();
        let error = unpack(tar.into_inner().unwrap().as_slice(), &target).unwrap_err().to_string();
        assert!(error.contains("leads outside"), "{error}");
    }
}
