//! The terminal of the person who types: its size, and the mode in which every key is passed on.

use std::{
    io::{IsTerminal, Read, stdin, stdout},
    thread,
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use crate::logging::say;

/// How many reads of the keyboard wait for the network.
const AHEAD: usize = 16;
const READ: usize = 16 * 1024;

/// While this lives, keys are passed on as they are typed; also Ctrl-C.
pub(super) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// `None` where standard input is no terminal.
    pub(super) fn enter() -> Option<Self> {
        if !stdin().is_terminal() {
            return None;
        }
        let before = tcgetattr(stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Says something to the person in the middle of a command's output, on a terminal on a line of its own.
pub(super) fn tell_person(tty: bool, words: &str) {
    let (before, after) = if tty { ("\r\n", "\r") } else { ("", "") };
    say(format_args!("{before}sandglass: {words}{after}"));
}

/// The size of the terminal: columns and rows.
pub(super) fn size() -> (u16, u16) {
    let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin()));
    size.map_or((80, 24), |size| (size.ws_col.max(1), size.ws_row.max(1)))
}

/// What comes on standard input; the channel closes at its end.
///
/// It is read on a thread of its own: nothing else can interrupt a read that waits, and the process must not wait for it.
pub(super) fn keys() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let read = move || {
        let mut buffer = vec![0; READ];
        while let Ok(length @ 1..) = stdin().lock().read(&mut buffer) {
            if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    };
    // Without a thread, nothing is read.
    drop(thread::Builder::new().name("stdin".to_owned()).spawn(read));
    receiver
}
