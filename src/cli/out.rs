//! What a command prints on the standard output stream.

use std::{
    fmt,
    io::{self, ErrorKind, Write, stdout},
};

/// What was asked for could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("failed to write to the standard output stream: {0}")]
pub(super) struct CannotPrint(io::Error);

/// Prints what a command was asked for. A reader that has gone, `head` for example, has what it wanted.
pub(super) fn print(text: &str) -> Result<(), CannotPrint> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CannotPrint(error)),
        _ => Ok(()),
    }
}

/// Shows something on the way. Where nobody can see it, it is dropped: what goes on does not depend on being watched.
pub(super) fn show(text: fmt::Arguments<'_>) {
    let mut out = stdout().lock();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}
