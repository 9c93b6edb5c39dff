//! Turns a request into what is to be started, or refuses it with the field that is wrong.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsString},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::pty::Winsize;

use super::messages::{Config, Size, Start};
use crate::{
    agent::Setup,
    connect::{Context, Error},
    users::User,
};

/// How much output of each stream is kept, at most and unless less is asked for, in bytes.
const KEEP: u64 = 1 << 20;

/// Where commands are looked for if the container does not say; what engines set, too.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The terminal that programs are told they have, unless the request says another.
const TERM: &str = "xterm";

/// The shell that E2B's clients ask for, and the one that every image with a shell has.
const BASH: &str = "/bin/bash";
const SH: &str = "/bin/sh";

/// The size of a terminal whose size is not given.
const COLS_ROWS: (u16, u16) = (80, 24);

/// What is to be started.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) tag: Option<String>,
    pub(super) user: User,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) directory: CString,
    /// Nobody asked for this directory.
    pub(super) any_directory: bool,
    pub(super) terminal: Option<Winsize>,
    pub(super) stdin: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) keep: usize,
}

impl Plan {
    /// Checks a request.
    ///
    /// # Errors
    ///
    /// `invalid_argument` naming the field, or why the user cannot be taken.
    pub(super) fn new(setup: &Setup, context: &Context, start: Start) -> Result<Self, Error> {
        let Start { process: config, pty, tag, stdin, container_cwd, timeout_ms, keep_bytes } = start;
        if config.cmd.is_empty() {
            return Err(Error::invalid("process.cmd is missing: give the program to run"));
        }
        let texts = config.args.iter().chain(config.envs.keys()).chain(config.envs.values()).chain([&config.cmd]);
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(Error::invalid("process.cmd, args and envs must not contain the character 0"));
        }
        if let Some(name) = config.envs.keys().find(|name| name.is_empty() || name.contains('=')) {
            return Err(Error::invalid(format!("process.envs: {name:?} cannot be a variable's name")));
        }
        let config = Config { cmd: shell_of(config.cmd, |path| Path::new(path).exists()), ..config };
        let user = User::find(&context.user)?;
        let home = setup.directory.as_ref().filter(|_| container_cwd).unwrap_or(&user.home);
        let (directory, any_directory) = directory(config.cwd.as_deref(), home)?;
        let terminal = pty.map(|pty| winsize(pty.size)).transpose()?;
        let timeout = timeout_ms.map(|timeout| if timeout == 0 { None } else { Some(Duration::from_millis(timeout)) });
        // As in E2B, a command whose client gives it a time does not outlive that time.
        let timeout = timeout.flatten().into_iter().chain(context.timeout).min();
        let keep = keep_bytes.unwrap_or(KEEP);
        if keep > KEEP {
            return Err(Error::invalid(format!("keepBytes is {keep}; at most {KEEP} bytes of each stream are kept")));
        }
        Ok(Self {
            environment: environment(setup, &user, &config.envs, terminal.is_some()),
            config,
            // Proto3's JSON leaves out what is empty.
            tag: tag.filter(|tag| !tag.is_empty()),
            user,
            directory,
            any_directory,
            terminal,
            stdin: stdin.unwrap_or(true),
            timeout,
            keep: usize::try_from(keep).unwrap_or(usize::MAX),
        })
    }
}

/// E2B's clients run everything by bash; an image without it has another shell that takes the same flags.
fn shell_of(command: String, exists: impl Fn(&str) -> bool) -> String {
    if command == BASH && !exists(BASH) && exists(SH) { SH.to_owned() } else { command }
}

/// The directory to run in, which a relative one is below `home`, and whether another one does if the user may not enter it.
fn directory(given: Option<&str>, home: &Path) -> Result<(CString, bool), Error> {
    let given = given.filter(|given| !given.is_empty());
    let path = given.map_or_else(|| home.to_owned(), |given| home.join(given));
    let refused = |why: &str| Error::invalid(format!("process.cwd: {} {why}", path.display()));
    let path = match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => path.clone(),
        _ if given.is_none() => PathBuf::from("/"),
        Ok(_) => return Err(refused("is not a directory")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(refused("does not exist")),
        Err(error) => return Err(refused(&format!("cannot be looked at: {error}"))),
    };
    let path = CString::new(path.into_os_string().into_vec());
    path.map(|path| (path, given.is_none())).map_err(|_| Error::invalid("process.cwd must not contain the character 0"))
}

/// A terminal's size.
///
/// # Errors
///
/// `invalid_argument` if it is too large.
pub(super) fn winsize(size: Size) -> Result<Winsize, Error> {
    let checked = |field: &str, given: u32, fallback: u16| match u16::try_from(given) {
        Ok(0) => Ok(fallback),
        Ok(given) => Ok(given),
        Err(_) => Err(Error::invalid(format!("pty.size.{field} is {given}; at most {} is possible", u16::MAX))),
    };
    let ws_col = checked("cols", size.cols, COLS_ROWS.0)?;
    let ws_row = checked("rows", size.rows, COLS_ROWS.1)?;
    Ok(Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })
}

/// The environment of the container, of the user and of the request; later ones win.
pub(crate) fn environment(
    setup: &Setup,
    user: &User,
    given: &BTreeMap<String, String>,
    terminal: bool,
) -> Vec<(OsString, OsString)> {
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
    all.insert("PATH".into(), PATH.into());
    if terminal {
        all.insert("TERM".into(), TERM.into());
    }
    all.extend(setup.environment.iter().cloned());
    // The engine sets HOME from the user that it starts the agent as; a container may also have one for everybody.
    let of_agent = || User::find("").map(|own| own.home).unwrap_or_default();
    if all.get(&OsString::from("HOME")).is_none_or(|home| Path::new(home) == of_agent()) {
        all.insert("HOME".into(), user.home.clone().into());
    }
    all.insert("USER".into(), user.name.clone().into());
    all.insert("LOGNAME".into(), user.name.clone().into());
    all.extend(given.iter().map(|(name, value)| (name.into(), value.into())));
    all.into_iter().collect()
}
