//! Watches directories by inotify, in a thread of its own, which acts as the user who watches.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::event::{Event, Kind};
use crate::{
    connect::{Code, Error},
    files::{acting, entry::Entry, mounts, names::Names, tree},
    users::User,
};

/// How many directories one watcher may watch. Each of them takes memory of the kernel.
pub(super) const DIRECTORIES_BOUND: usize = 8_192;

/// How many bytes of events are read at once.
const BUFFER: usize = 64 << 10;

/// What is asked of the kernel about each directory.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// What is watched, and what is told.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) path: PathBuf,
    /// Also the directories below it, those that are made later, too. Those that the user may not read are left out.
    pub(super) recursive: bool,
    pub(super) include_entry: bool,
    pub(super) allow_network_mounts: bool,
}

/// Watching, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<OwnedFd>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It can only fail where it has been stopped already.
        _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }
}

/// Starts to watch. Returns when no later change is missed.
///
/// `tell` is called in the watching thread. It may block, and returns whether anybody still listens; an error is the last that
/// it is told.
pub(super) async fn start(
    user: &User,
    permit: OwnedSemaphorePermit,
    options: Options,
    tell: impl FnMut(Result<Event, Error>) -> bool + Send + 'static,
) -> Result<Watch, Error> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let stop = eventfd(0, flags).map_err(|error| Error::io("starting to watch", &error.into()))?;
    let stop = Arc::new(stop);
    let (ready, is_ready) = oneshot::channel();
    let stopped = stop.clone();
    acting::start(user, move |acting| {
        match acting.and_then(|()| Watching::begin(options, tell)) {
            Err(error) => _ = ready.send(Err(error)),
            // Otherwise nobody waits any more.
            Ok(watching) if ready.send(Ok(())).is_ok() => watching.run(&stopped),
            Ok(_) => {}
        }
    })?;
    // From here on, a caller that stops waiting stops the thread.
    let watch = Watch { stop, _permit: permit };
    is_ready.await.map_err(|_| Error::new(Code::Internal, "the thread that watches has died"))??;
    Ok(watch)
}

/// Why watching ends before it is stopped.
enum End {
    /// Nobody listens, or the directory is gone.
    Quiet,
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct Watching<T> {
    inotify: OwnedFd,
    options: Options,
    tell: T,
    /// Directories by their watches: paths below the one that is watched.
    directories: HashMap<i32, PathBuf>,
    root: i32,
    /// A directory that was moved, with the mark that its new name has, too, if that is below the same directory.
    moved: Option<(u32, PathBuf)>,
    /// What was found in a new directory before the kernel's events about it were read.
    found: HashSet<PathBuf>,
}

/// An event as the kernel tells it.
struct Raw {
    watch: i32,
    flags: ReadFlags,
    cookie: u32,
    name: PathBuf,
}

impl<T: FnMut(Result<Event, Error>) -> bool> Watching<T> {
    fn begin(options: Options, tell: T) -> Result<Self, Error> {
        let path = &options.path;
        let found = fs::metadata(path).map_err(|error| tree::missing_too(path, &error))?;
        if !found.is_dir() {
            return Err(Error::invalid(format!("{}: is not a directory", path.display())));
        }
        if !options.allow_network_mounts && mounts::is_network(path) {
            let message =
                "is on a network file system, whose changes are not all noticed; allowNetworkMounts watches it";
            return Err(Error::invalid(format!("{}: {message}", path.display())));
        }
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|error| match error {
            Errno::MFILE => {
                let message = "no watcher is left on this host; fs.inotify.max_user_instances is the bound";
                Error::new(Code::ResourceExhausted, message)
            }
            error => Error::io("starting to watch", &error.into()),
        })?;
        let (directories, found) = (HashMap::new(), HashSet::new());
        let mut watching = Self { inotify, options, tell, directories, root: -1, moved: None, found };
        match watching.add(Path::new(""), false) {
            Err(End::Failed(error)) => Err(error),
            Err(End::Quiet) | Ok(()) => Ok(watching),
        }
    }

    fn run(mut self, stop: &OwnedFd) {
        match self.follow(stop) {
            Ok(()) | Err(End::Quiet) => {}
            Err(End::Failed(error)) => _ = (self.tell)(Err(error)),
        }
    }

    fn follow(&mut self, stop: &OwnedFd) -> Result<(), End> {
        let failed = |error: Errno| End::Failed(Error::io("watching", &error.into()));
        let mut buffer = Box::new_uninit_slice(BUFFER);
        loop {
            let mut files = [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            match poll(&mut files, None) {
                Err(Errno::INTR) => continue,
                polled => polled.map_err(failed)?,
            };
            if !files[1].revents().is_empty() {
                return Ok(());
            }
            for raw in read(&self.inotify, &mut buffer).map_err(failed)? {
                self.change(&raw)?;
            }
            if is_quiet(&self.inotify).map_err(failed)? {
                // All events about what was found are through, and so is the second half of a move.
                self.found.clear();
                self.forget_moved();
            }
        }
    }

    fn change(&mut self, raw: &Raw) -> Result<(), End> {
        if raw.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Err(End::Failed(overflow()));
        }
        let is_second_half = raw.flags.contains(ReadFlags::MOVED_TO)
            && self.moved.as_ref().is_some_and(|(cookie, _)| *cookie == raw.cookie);
        if !is_second_half {
            self.forget_moved();
        }
        let Some(directory) = self.directories.get(&raw.watch) else { return Ok(()) };
        let is_root = raw.watch == self.root;
        if raw.flags.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT) {
            self.directories.remove(&raw.watch);
            return if is_root { Err(End::Quiet) } else { Ok(()) };
        }
        // What happens to a directory itself is told by the one above it, but for the first one.
        if raw.name.as_os_str().is_empty() && !is_root {
            return Ok(());
        }
        let path = directory.join(&raw.name);
        let is_directory = raw.flags.contains(ReadFlags::ISDIR);
        if raw.flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            if !self.found.remove(&path) {
                self.tell(&path, Kind::Create)?;
            }
            if is_directory && self.options.recursive {
                match self.moved.take() {
                    Some((_, old)) if is_second_half => self.follow_move(&old, &path),
                    _ => self.add(&path, raw.flags.contains(ReadFlags::CREATE))?,
                }
            }
        } else if raw.flags.contains(ReadFlags::MODIFY) {
            self.tell(&path, Kind::Write)?;
        } else if raw.flags.intersects(ReadFlags::DELETE | ReadFlags::DELETE_SELF) {
            self.tell(&path, Kind::Remove)?;
        } else if raw.flags.intersects(ReadFlags::MOVED_FROM | ReadFlags::MOVE_SELF) {
            self.tell(&path, Kind::Rename)?;
            if is_directory && self.options.recursive && raw.flags.contains(ReadFlags::MOVED_FROM) {
                self.moved = Some((raw.cookie, path));
            }
        } else if raw.flags.contains(ReadFlags::ATTRIB) {
            self.tell(&path, Kind::Chmod)?;
        }
        Ok(())
    }

    fn tell(&mut self, path: &Path, kind: Kind) -> Result<(), End> {
        let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let entry = if self.options.include_entry {
            Entry::read(&self.options.path.join(path), &Names::default()).ok().map(Box::new)
        } else {
            None
        };
        let event = Event { name: name.to_string_lossy().into_owned(), kind, entry };
        if (self.tell)(Ok(event)) { Ok(()) } else { Err(End::Quiet) }
    }

    /// Watches a directory, and those below it if that was asked for. With `report`, what is in it already is told: it was made
    /// between the directory and the watch.
    fn add(&mut self, path: &Path, report: bool) -> Result<(), End> {
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            let whole = self.options.path.join(&path);
            let is_root = path.as_os_str().is_empty();
            let flags = if is_root { CHANGES } else { CHANGES | WatchFlags::DONT_FOLLOW };
            match inotify::add_watch(&self.inotify, &whole, flags) {
                Ok(watch) => {
                    if is_root {
                        self.root = watch;
                    }
                    self.directories.insert(watch, path.clone());
                }
                // It is gone, or another file has its name.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !is_root => continue,
                Err(Errno::ACCESS) if !is_root => continue,
                Err(Errno::NOSPC) => {
                    let message = "no watch is left on this host; fs.inotify.max_user_watches is the bound";
                    return Err(Error::new(Code::ResourceExhausted, message).into());
                }
                Err(error) => return Err(Error::io(&whole.display().to_string(), &error.into()).into()),
            }
            if self.directories.len() > DIRECTORIES_BOUND {
                let message = format!("a watcher may watch {DIRECTORIES_BOUND} directories; watch one further below");
                return Err(Error::new(Code::ResourceExhausted, message).into());
            }
            if !self.options.recursive {
                return Ok(());
            }
            self.look_into(&path, &whole, report, &mut waiting)?;
        }
        Ok(())
    }

    fn look_into(&mut self, path: &Path, whole: &Path, report: bool, waiting: &mut Vec<PathBuf>) -> Result<(), End> {
        // It may be gone by now, and the kernel will tell that.
        let (Ok(entries), Ok(directory)) = (fs::read_dir(whole), fs::symlink_metadata(whole)) else { return Ok(()) };
        for entry in entries.filter_map(Result::ok) {
            let below = path.join(entry.file_name());
            let Ok(metadata) = entry.metadata() else { continue };
            if report && self.found.insert(below.clone()) {
                self.tell(&below, Kind::Create)?;
                if metadata.is_file() && metadata.size() > 0 {
                    self.tell(&below, Kind::Write)?;
                }
            }
            if metadata.is_dir() && (metadata.dev() == directory.dev() || !mounts::is_virtual(&entry.path())) {
                waiting.push(below);
            }
        }
        Ok(())
    }

    /// A directory has another name below the same root: its watches go on.
    fn follow_move(&mut self, old: &Path, new: &Path) {
        for path in self.directories.values_mut() {
            if let Ok(rest) = path.strip_prefix(old) {
                *path = if rest.as_os_str().is_empty() { new.to_owned() } else { new.join(rest) };
            }
        }
    }

    /// A directory was moved away: it is not watched any more.
    fn forget_moved(&mut self) {
        let Some((_, path)) = self.moved.take() else { return };
        let inotify = self.inotify.as_fd();
        self.directories.retain(|watch, directory| {
            let stays = !directory.starts_with(&path);
            if !stays {
                // It fails if the directory has been removed meanwhile.
                _ = inotify::remove_watch(inotify, *watch);
            }
            stays
        });
    }
}

fn read(inotify: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> Result<Vec<Raw>, Errno> {
    let mut reader = inotify::Reader::new(inotify, buffer);
    let mut events = Vec::new();
    loop {
        match reader.next() {
            Ok(event) => events.push(Raw {
                watch: event.wd(),
                flags: event.events(),
                cookie: event.cookie(),
                name: event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).into()).unwrap_or_default(),
            }),
            Err(Errno::AGAIN) => return Ok(events),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if reader.is_buffer_empty() {
            return Ok(events);
        }
    }
}

/// Whether no event is waiting.
fn is_quiet(inotify: &OwnedFd) -> Result<bool, Errno> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(inotify, PollFlags::IN)], Some(&now)).map(|ready| ready == 0)
}

fn overflow() -> Error {
    let bound = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
    let bound = bound.as_deref().map_or_else(|error: &io::Error| error.to_string(), |bound| bound.trim().to_owned());
    let message = format!(
        "changes were lost: they came faster than they were read, and {bound} may wait (fs.inotify.max_queued_events); \
         watch again"
    );
    Error::new(Code::ResourceExhausted, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::{Semaphore, mpsc};

    use super::*;

    #[tokio::test]
    async fn the_thread_ends_when_nobody_watches_any_more() {
        let directory = tempfile::TempDir::new().unwrap();
        let options = Options {
            path: directory.path().to_owned(),
            recursive: true,
            include_entry: false,
            allow_network_mounts: false,
        };
        let (sender, mut receiver) = mpsc::channel(1);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let tell = move |told| sender.blocking_send(told).is_ok();
        let watch = start(&User::find("").unwrap(), permit, options, tell).await.unwrap();
        fs::write(directory.path().join("f"), "x").unwrap();
        let first = receiver.recv().await.unwrap().unwrap();
        assert_eq!((first.name.as_str(), first.kind), ("f", Kind::Create));
        drop(watch);
        // The sender goes with the thread.
        let rest = async { while receiver.recv().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(20), rest).await.expect("the thread ends");
    }
}
