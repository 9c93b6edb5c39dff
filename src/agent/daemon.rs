//! The agent as a program that goes on by itself.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::net::UnixListener,
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    sys::{
        prctl::set_child_subreaper,
        resource::{Resource, getrlimit, setrlimit},
        stat::{Mode, umask},
    },
    unistd::{chdir, close, dup2_stderr, dup2_stdin, dup2_stdout, setsid},
};
use sandglass_agent::{Agent, Setup};

use crate::{handover, peer};

/// The first descriptor that is neither input, output nor errors.
const FIRST_INHERITED: i32 = 3;

/// The descriptors that are closed where `/proc` does not tell which are open.
const UNKNOWN_INHERITED: i32 = 1024;

/// How long to wait when no connection can be accepted, for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Threads for work that blocks: starting commands, and files.
const BLOCKING_THREADS: usize = 16;

/// Serves `@NAME` for ever. Tells one line on stdout, and then closes it: empty if somebody listens, else why nobody does.
pub(crate) fn serve(name: &str, user: &str) -> Result<(), String> {
    let directory = env::current_dir().ok();
    let told = leave().and_then(|()| listen(name));
    let line = told.as_ref().err().map_or("", String::as_str);
    // Nobody may wait for it.
    _ = writeln!(io::stdout(), "{line}");
    let Some(listener) = told? else { return Ok(()) };
    close_stdio().map_err(|error| format!("cannot use /dev/null: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| error.to_string())?;
    let agent = Agent::new(Setup {
        environment: env::vars_os().collect(),
        user: user.to_owned(),
        directory,
        open_files: raise_open_files(),
        reaps_orphans: true,
    });
    runtime.block_on(accept(listener, &agent)).map_err(|error| error.to_string())
}

/// Leaves the session and everything else that the program was started with.
fn leave() -> Result<(), String> {
    close_inherited();
    // It fails for the leader of a group, which this is only where somebody starts it by hand.
    _ = setsid();
    chdir("/").map_err(|error| format!("cannot change to /: {error}"))?;
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    set_child_subreaper(true).map_err(|error| format!("cannot take in orphans: {error}"))
}

fn close_inherited() {
    let open = fs::read_dir("/proc/self/fd").map(|open| {
        let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        numbers.collect::<Vec<i32>>()
    });
    let open = open.unwrap_or_else(|_| (FIRST_INHERITED..UNKNOWN_INHERITED).collect());
    for number in open.into_iter().filter(|number| *number >= FIRST_INHERITED) {
        // Some are not open, or not any more.
        _ = close(number);
    }
}

/// Listens, or tells with `None` that another agent does.
fn listen(name: &str) -> Result<Option<UnixListener>, String> {
    match UnixListener::bind_addr(&peer::address(name)?) {
        Ok(listener) => {
            listener.set_nonblocking(true).map_err(|error| format!("cannot listen at @{name}: {error}"))?;
            Ok(Some(listener))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(format!("cannot listen at @{name}: {error}")),
    }
}

/// Puts input, output and errors on `/dev/null`.
fn close_stdio() -> io::Result<()> {
    io::stdout().flush()?;
    let null = nix::fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Every process takes up to four descriptors. Tells the limit from before, which is the one for commands.
fn raise_open_files() -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
    Some((soft, hard))
}

async fn accept(listener: UnixListener, agent: &Agent) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            // The agent serves nobody who did not come through a dial in this container; the dial tells why.
            Ok((stream, _)) if peer::check(&stream).is_ok() => {
                let agent = agent.clone();
                // A connection that breaks off ends nothing else.
                tokio::spawn(async move { _ = handover::serve(stream, &agent).await });
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
