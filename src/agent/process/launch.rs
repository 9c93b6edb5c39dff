//! Starts a process, reads its output, and waits for its end.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, killpg},
        stat::fstat,
    },
    unistd::{Pid, fchown},
};
use tokio::{
    io::Interest,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    end::End,
    fd::Fd,
    messages::{Config, From, Info},
    output::{Output, Reader, Stream},
    plan::Plan,
    reaper::Exit,
    table::Processes,
};
use crate::{
    agent::Agent,
    clock,
    connect::{Code, Error},
    system::{self, Command},
};

/// How long a process whose time is up may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// How often it is checked whether anything is left of a group.
const SWEEP: Duration = Duration::from_millis(50);

/// A terminal that is quiet for so long after its process has ended has told everything. The kernel passes on what was
/// written to it in a task of its own.
const QUIET: Duration = Duration::from_millis(50);

/// The bytes that are read from a terminal after its process has ended, at most: more than it can hold.
const TERMINAL_HOLDS: usize = 256 << 10;

/// The bytes that are read at a time.
const BUFFER: usize = 64 << 10;

/// A process, and what is known of it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) tag: Option<String>,
    pub(super) config: Config,
    /// Seconds since the Unix epoch.
    pub(super) started_at: f64,
    pub(super) output: Arc<Output>,
    /// Where its input is written, one call at a time. `None` if there is none, or no more.
    stdin: tokio::sync::Mutex<Option<Fd>>,
    /// Its terminal, until it has ended.
    terminal: Mutex<Option<Arc<Fd>>>,
    pub(super) has_terminal: bool,
    ended: watch::Sender<Option<Ended>>,
}

/// When and how a process has ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// Seconds since the Unix epoch.
    at: f64,
    pub(super) how: End,
}

impl Process {
    /// Tells the end to all who wait for it.
    pub(super) fn tell_end(&self, ended: Ended) {
        self.ended.send_replace(Some(ended));
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) -> Option<Ended> {
        let mut ended = self.ended.subscribe();
        ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone())
    }

    pub(super) fn info(&self) -> Info {
        let ended = self.ended.borrow().clone();
        Info {
            config: self.config.clone(),
            pid: self.pid,
            tag: self.tag.clone(),
            started_at: self.started_at,
            ended_at: ended.as_ref().map(|ended| ended.at),
            end: ended.map(|ended| ended.how),
        }
    }

    /// Writes to its standard input. Waits while it does not read.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if it has none, or does not read it any more.
    pub(super) async fn write_stdin(&self, bytes: &[u8]) -> Result<(), Error> {
        let stdin = self.stdin.lock().await;
        let stdin = stdin.as_ref().ok_or_else(|| self.refused("has no stdin that is open: start it with stdin"))?;
        self.write(stdin, bytes).await
    }

    /// Writes to its terminal, as if it was typed.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if it has none, or has ended.
    pub(super) async fn write_terminal(&self, bytes: &[u8]) -> Result<(), Error> {
        let terminal = self.terminal()?;
        // One call at a time.
        let _turn = self.stdin.lock().await;
        self.write(&terminal, bytes).await
    }

    async fn write(&self, to: &Fd, bytes: &[u8]) -> Result<(), Error> {
        let written = tokio::select! {
            written = to.write_all(bytes) => written,
            _ = self.ended() => return Err(self.refused("has ended")),
        };
        written.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPIPE) => self.refused("does not read its stdin any more"),
            _ => Error::io(&format!("cannot write to process {}", self.pid), &error),
        })
    }

    /// Closes its standard input, after what is being written.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if it has a terminal, which has no end.
    pub(super) async fn close_stdin(&self) -> Result<(), Error> {
        if self.has_terminal {
            return Err(self.refused("has a terminal, whose input cannot be closed: send it the character 4 (Ctrl-D)"));
        }
        self.stdin.lock().await.take();
        Ok(())
    }

    /// Changes its terminal's size.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if it has none, or has ended.
    pub(super) fn resize(&self, size: &Winsize) -> Result<(), Error> {
        let resized = system::resize(&*self.terminal()?, size);
        resized.map_err(|error| Error::io("cannot change the terminal's size", &error.into()))
    }

    fn terminal(&self) -> Result<Arc<Fd>, Error> {
        let terminal = self.terminal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let why = if self.has_terminal { "has ended" } else { "has no terminal: start it with pty" };
        terminal.ok_or_else(|| self.refused(why))
    }

    fn refused(&self, why: &str) -> Error {
        Error::new(Code::FailedPrecondition, format!("process {} {why}", self.pid))
    }
}

/// Starts a process. It goes on when this is dropped, but then nobody knows it: spawn this.
///
/// # Errors
///
/// If it cannot be started; the exit code is then the one of `docker exec`.
pub(super) async fn launch(agent: Agent, plan: Plan) -> Result<(Arc<Process>, Reader), Error> {
    let processes = agent.processes();
    let place = processes.reserve(plan.tag.as_ref())?;
    let Channels { stdio, stdin, terminal, sources } = Channels::open(&plan)?;
    let has_terminal = plan.terminal.is_some();
    let user = (!plan.user.is_agents()).then(|| (plan.user.uid, plan.user.gid, plan.user.groups.clone()));
    let command = Command {
        program: plan.config.cmd.clone(),
        args: plan.config.args.clone(),
        environment: plan.environment,
        directory: plan.directory,
        any_directory: plan.any_directory,
        user,
        open_files: agent.setup().open_files,
        stdio,
        inherited: None,
        terminal: has_terminal,
    };
    let spawned = processes.reaper.spawn(command).await;
    let (pid, exit) = spawned.map_err(|error| not_started(&plan.config, &plan.user.name, &error))?;

    let process = Arc::new(Process {
        pid: pid.as_raw().cast_unsigned(),
        tag: plan.tag,
        config: plan.config,
        started_at: now(),
        output: Output::new(plan.keep),
        stdin: tokio::sync::Mutex::new(stdin),
        terminal: Mutex::new(terminal),
        has_terminal,
        ended: watch::Sender::new(None),
    });
    // Before anything is read, so that this reader gets everything.
    let reader = process.output.read(From::default());
    place.take(&process);
    let deadline = plan.timeout.map(|timeout| Instant::now() + timeout);
    tokio::spawn(supervise(Arc::clone(processes), Arc::clone(&process), exit, deadline, sources));
    Ok((process, reader))
}

fn now() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact in 53 bits")]
    let now = clock::now_ms() as f64;
    now / 1000.0
}

/// The exit codes are those of shells and of `docker exec`: 127 if there is no such program, else 126.
fn not_started(config: &Config, user: &str, error: &io::Error) -> Error {
    let doing = format!("cannot start {:?}", config.cmd);
    let (exit_code, error) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => {
            let message = format!("{doing}: there is no such program, or its interpreter or loader is missing");
            (127, Error::not_found(message))
        }
        Some(Errno::EACCES | Errno::EPERM) => {
            let message =
                format!("{doing}: user {user} may not execute it, enter process.cwd, or be taken by the agent");
            (126, Error::new(Code::PermissionDenied, message))
        }
        Some(Errno::ENOEXEC) => {
            (126, Error::invalid(format!("{doing}: it is not a program, or one for another processor")))
        }
        Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => {
            (126, Error { code: Code::ResourceExhausted, ..Error::io(&doing, error) })
        }
        _ => (126, Error { code: Code::InvalidArgument, ..Error::io(&doing, error) }),
    };
    Error { exit_code: Some(exit_code), ..error }
}

/// What connects a process with the agent.
struct Channels {
    /// The process's ends.
    stdio: [OwnedFd; 3],
    stdin: Option<Fd>,
    terminal: Option<Arc<Fd>>,
    /// Where its output comes from.
    sources: Vec<(Stream, Arc<Fd>)>,
}

impl Channels {
    fn open(plan: &Plan) -> Result<Self, Error> {
        let opened = match &plan.terminal {
            Some(size) => Self::terminal(size, plan),
            None => Self::pipes(plan.stdin),
        };
        opened.map_err(|error| Error::io("cannot make the pipes or the terminal of a process", &error))
    }

    fn terminal(size: &Winsize, plan: &Plan) -> io::Result<Self> {
        let pair = openpty(Some(size), None)?;
        if !plan.user.is_agents() {
            // The group may write to it, as on other systems.
            let group = fstat(&pair.slave)?.st_gid;
            fchown(&pair.slave, Some(plan.user.uid), Some(nix::unistd::Gid::from_raw(group)))?;
        }
        // openpty does not set it, and other commands must not inherit the terminal.
        for fd in [&pair.master, &pair.slave] {
            fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        }
        let master = Arc::new(Fd::new(pair.master, Interest::READABLE | Interest::WRITABLE)?);
        Ok(Self {
            stdio: [pair.slave.try_clone()?, pair.slave.try_clone()?, pair.slave],
            stdin: None,
            terminal: Some(Arc::clone(&master)),
            sources: vec![(Stream::Pty, master)],
        })
    }

    fn pipes(with_stdin: bool) -> io::Result<Self> {
        let (input, stdin) = if with_stdin {
            let (theirs, ours) = io::pipe()?;
            (OwnedFd::from(theirs), Some(Fd::new(ours.into(), Interest::WRITABLE)?))
        } else {
            (std::fs::File::open("/dev/null")?.into(), None)
        };
        let (stdout, to_stdout) = io::pipe()?;
        let (stderr, to_stderr) = io::pipe()?;
        let source = |fd: io::PipeReader| Ok::<_, io::Error>(Arc::new(Fd::new(fd.into(), Interest::READABLE)?));
        Ok(Self {
            stdio: [input, to_stdout.into(), to_stderr.into()],
            stdin,
            terminal: None,
            sources: vec![(Stream::Stdout, source(stdout)?), (Stream::Stderr, source(stderr)?)],
        })
    }
}

/// Follows a process to its end.
async fn supervise(
    processes: Arc<Processes>,
    process: Arc<Process>,
    exit: Exit,
    deadline: Option<Instant>,
    sources: Vec<(Stream, Arc<Fd>)>,
) {
    let group = Pid::from_raw(process.pid.cast_signed());
    let (exited, told) = watch::channel(false);
    let readings: Vec<_> = sources
        .into_iter()
        .map(|(stream, fd)| tokio::spawn(read(Arc::clone(&process.output), stream, fd, told.clone())))
        .collect();

    let (status, timed_out) = wait(&processes, group, exit, deadline).await;
    exited.send_replace(true);
    for reading in readings {
        // A task that panicked has nothing more to tell.
        _ = reading.await;
    }
    process.output.finish();
    process.terminal.lock().unwrap_or_else(PoisonError::into_inner).take();
    let ended = Ended { at: now(), how: End::of(status, timed_out) };
    processes.remember(&process, ended);
    process.stdin.lock().await.take();
}

/// Waits for the end of a process, and brings it about when its time is up.
async fn wait(
    processes: &Processes,
    group: Pid,
    mut exit: Exit,
    deadline: Option<Instant>,
) -> (Option<rustix::process::WaitStatus>, bool) {
    let due = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        status = &mut exit => return (status.ok().flatten(), false),
        () = due => {}
    }
    // It may have ended just now.
    _ = processes.reaper.signal(group, Signal::SIGTERM);
    let killed_at = Instant::now() + GRACE;
    let status = tokio::select! {
        biased;
        status = &mut exit => status,
        () = sleep_until(killed_at) => {
            _ = processes.reaper.signal(group, Signal::SIGKILL);
            exit.await
        }
    };
    // Its children may take as long. While the group has a member, no other group gets its number; and between two checks,
    // the numbers do not come round.
    while killpg(group, None).is_ok() {
        if Instant::now() >= killed_at {
            _ = killpg(group, Signal::SIGKILL);
            break;
        }
        sleep(SWEEP).await;
    }
    (status.ok().flatten(), true)
}

/// Reads one stream of output. Returns when the process has ended and what it has written is read.
async fn read(output: Arc<Output>, stream: Stream, fd: Arc<Fd>, mut exited: watch::Receiver<bool>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = tokio::select! {
            biased;
            read = fd.read(&mut buffer) => read,
            _ = exited.wait_for(|exited| *exited) => break,
        };
        match read {
            Ok(0) | Err(_) => return,
            Ok(read) => output.push(stream, &buffer[..read]).await,
        }
        if *exited.borrow() {
            break;
        }
    }
    // Others may hold the stream open and go on writing; what the process itself has written is the first that it holds.
    let holds = match stream {
        Stream::Pty => TERMINAL_HOLDS,
        _ => fcntl(&*fd, FcntlArg::F_GETPIPE_SZ).ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(BUFFER),
    };
    let mut left = holds;
    while left > 0 {
        let room = left.min(buffer.len());
        let read = match stream {
            Stream::Pty => timeout(QUIET, fd.read(&mut buffer[..room])).await.unwrap_or(Ok(0)),
            _ => fd.read_now(&mut buffer[..room]),
        };
        let Ok(read @ 1..) = read else { break };
        output.push(stream, &buffer[..read]).await;
        left -= read;
    }
    if stream != Stream::Pty {
        // A child of the process that goes on must not fail because nobody reads.
        tokio::spawn(async move { while matches!(fd.read(&mut buffer).await, Ok(1..)) {} });
    }
}
