//! The steps that need the operating system itself: those between fork and exec, a terminal's size, and watched descriptors.
//!
//! This is the only file with unsafe code.
#![allow(unsafe_code)]

use std::{
    ffi::{CString, OsString},
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{self, Stdio},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open},
    libc,
    pty::Winsize,
    sys::{
        resource::{Resource, setrlimit},
        stat::Mode,
    },
    unistd::{Gid, Pid, Uid, chdir, setgid, setgroups, setsid, setuid, write},
};
use tokio::io::{Interest, unix::AsyncFd};

/// The control file of a process's place in the order in which the kernel ends processes when memory runs out.
const OOM_SCORE: &std::ffi::CStr = c"/proc/self/oom_score_adj";

/// How much rather a command is ended than the agent when memory runs out: as if it used a tenth of the memory more.
const OOM_RAISE: i32 = 100;

/// A command with all that it gets.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: CString,
    /// Whether `/` does if the user may not enter the directory.
    pub(crate) any_directory: bool,
    /// `None` stays the agent's user.
    pub(crate) user: Option<(Uid, Gid, Vec<Gid>)>,
    /// The soft and hard limit of open files, if it is not the agent's.
    pub(crate) open_files: Option<(u64, u64)>,
    /// Its input, output and errors.
    pub(crate) stdio: [OwnedFd; 3],
    /// One more that it gets, under the number that it has here.
    pub(crate) inherited: Option<OwnedFd>,
    /// Whether these are a terminal that becomes its own.
    pub(crate) terminal: bool,
}

impl Command {
    /// Starts the command in a session and process group of its own. Blocks until the program is executed.
    ///
    /// # Errors
    ///
    /// If the program cannot be executed, or what it gets cannot be set up.
    pub(crate) fn spawn(self) -> io::Result<Pid> {
        let Self { program, args, environment, directory, any_directory, user, open_files, stdio, inherited, terminal } =
            self;
        let [stdin, stdout, stderr] = stdio;
        let mut command = process::Command::new(program);
        command.args(args).env_clear().envs(environment);
        command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
        let oom_score = raised_oom_score();
        let prepare = move || {
            for signal in 1..32 {
                // SAFETY: the default action runs no code of this program. Two of them cannot be set, and need not be.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            setsid()?;
            if let Some(inherited) = &inherited {
                fcntl(inherited, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
            if terminal {
                // SAFETY: the request takes a number, and file 0 is open.
                unsafe { take_terminal(libc::STDIN_FILENO, 0) }?;
            }
            if let Some(score) = &oom_score
                && let Ok(file) = open(OOM_SCORE, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
            {
                // Without it, the command runs all the same.
                _ = write(&file, score);
            }
            if let Some((soft, hard)) = open_files {
                setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
            }
            if let Some((uid, gid, groups)) = &user {
                setgroups(groups)?;
                setgid(*gid)?;
                setuid(*uid)?;
            }
            match chdir(directory.as_c_str()) {
                Err(_) if any_directory => chdir(c"/")?,
                entered => entered?,
            }
            Ok(())
        };
        // SAFETY: between fork and exec, only the thread that has forked is left, so the closure may only do what is
        // async-signal-safe. It makes system calls on values that were prepared before the fork; it allocates nothing (an
        // error of the operating system is a number) and takes no locks.
        unsafe { command.pre_exec(prepare) };
        let child = command.spawn()?;
        Ok(Pid::from_raw(child.id().cast_signed()))
    }
}

/// The agent's own score, raised. `None` where there is no `/proc`.
fn raised_oom_score() -> Option<Vec<u8>> {
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok()?;
    Some((own + OOM_RAISE).min(1000).to_string().into_bytes())
}

/// Tells a terminal its size. Its processes get `SIGWINCH`.
///
/// # Errors
///
/// If it is no terminal.
pub(crate) fn resize(terminal: &impl AsFd, size: &Winsize) -> nix::Result<()> {
    // SAFETY: the descriptor is open while it is borrowed, and the request reads the size from a valid reference.
    unsafe { set_size(terminal.as_fd().as_raw_fd(), size) }.map(drop)
}

/// Watches a descriptor for being readable or writable. Has to be called in a runtime.
///
/// # Errors
///
/// If it is of a kind that cannot be watched, such as a file.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always tells the same descriptor, and keeps it open as long as it lives.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

nix::ioctl_write_int_bad!(take_terminal, libc::TIOCSCTTY);
nix::ioctl_write_ptr_bad!(set_size, libc::TIOCSWINSZ, Winsize);
