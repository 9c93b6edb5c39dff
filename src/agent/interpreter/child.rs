//! A driver's process and its connections.

use std::{
    collections::BTreeMap,
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream as Plain,
    },
    sync::Arc,
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::mpsc,
    time::timeout,
};

use super::{
    language::{Cell, Driver, Language},
    pump::{Event, Listener, Pipe, pump},
};
use crate::{
    agent::Agent,
    process::{self, Processes},
    system::Command,
    users::User,
};

/// How long a driver may take to be ready. A container may be slow, and its files be read for the first time.
const START: Duration = Duration::from_secs(60);

/// The events that may wait for a client that reads slowly.
const EVENTS: usize = 8;

/// A driver that runs. It is killed with all that its cells have started when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    group: Pid,
    processes: Arc<Processes>,
    language: Language,
    control: OwnedWriteHalf,
    listener: Listener,
    /// The cells that it has been given.
    pub(super) cells: u64,
}

impl Child {
    /// Starts a driver and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Why it cannot run, in a sentence for the user.
    pub(super) async fn start(
        agent: &Agent,
        language: Language,
        user: &User,
        directory: CString,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot connect with {}: {error}", language.name());
        let (ours, theirs) = Plain::pair().map_err(failed)?;
        let theirs = OwnedFd::from(theirs);
        let (stdout, our_stdout) = Pipe::new("stdout").map_err(failed)?;
        let (stderr, our_stderr) = Pipe::new("stderr").map_err(failed)?;
        let stdin = std::fs::File::open("/dev/null").map_err(failed)?.into();
        let Driver { program, args, source } = language.driver(theirs.as_raw_fd());
        let command = Command {
            program: program.to_owned(),
            args,
            environment: process::environment(agent.setup(), user, &BTreeMap::new(), false),
            directory,
            any_directory: true,
            user: (!user.is_agents()).then(|| (user.uid, user.gid, user.groups.clone())),
            open_files: agent.setup().open_files,
            stdio: [stdin, stdout, stderr],
            inherited: Some(theirs),
            terminal: false,
        };
        let processes = Arc::clone(agent.processes());
        let (group, exit) = processes.reaper.spawn(command).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("this image has no {program}; {} needs it", language.name()),
            _ => format!("cannot start {program} as user {}: {error}", user.name),
        })?;
        ours.set_nonblocking(true).map_err(failed)?;
        let (read, control) = UnixStream::from_std(ours).map_err(failed)?.into_split();
        let listener = Listener::default();
        let (events, told) = mpsc::channel(EVENTS);
        listener.set(Some(events));
        tokio::spawn(pump(read, [our_stdout, our_stderr], exit, listener.clone()));
        let mut child = Self { group, processes, language, control, listener, cells: 0 };
        child.write(source.as_bytes()).await;
        timeout(START, ready(told, program)).await.unwrap_or_else(|_| {
            Err(format!("{program} was not ready within {} s; is this sandbox short of memory?", START.as_secs()))
        })?;
        Ok(child)
    }

    /// Runs a cell. The receiver tells what it does, up to [`Event::Done`] or [`Event::Ended`].
    pub(super) async fn run(&mut self, cell: &Cell) -> mpsc::Receiver<Event> {
        let (events, told) = mpsc::channel(EVENTS);
        self.listener.set(Some(events));
        self.write(&self.language.encode(cell)).await;
        told
    }

    /// Lets what is still running go on without being told.
    pub(super) fn leave(&self) {
        self.listener.set(None);
    }

    /// Interrupts the cell and all that it waits for, as Ctrl-C does.
    pub(super) fn interrupt(&self) {
        // It may have ended just now.
        _ = self.processes.reaper.signal(self.group, Signal::SIGINT);
    }

    async fn write(&mut self, bytes: &[u8]) {
        // A driver that does not read any more is one that has ended, which is told as an event.
        _ = self.control.write_all(bytes).await;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        _ = self.processes.reaper.signal(self.group, Signal::SIGKILL);
    }
}

/// Waits until the driver is ready. What it says instead is the reason why not.
async fn ready(mut told: mpsc::Receiver<Event>, program: &str) -> Result<(), String> {
    let mut said = Vec::new();
    loop {
        match told.recv().await {
            Some(Event::Ready(ready)) => return ready,
            Some(Event::Output(_, bytes)) if said.len() < 1000 => said.extend(bytes),
            Some(Event::Ended(_)) | None => {
                let said = String::from_utf8_lossy(&said);
                return Err(format!("{program} has ended at once: {}", said.trim()));
            }
            Some(_) => {}
        }
    }
}
