//! What a command prints on the standard output stream.

use std::{
    fmt,
    io::{self, ErrorKind, Write, stdout},
};

/// The output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write to the standard output stream: {0}")]
pub(super) struct CannotPrint(io::Error);

/// Prints a command's output. A reader that has gone, such as `head`, is no error.
pub(super) fn print(text: &str) -> Result<(), CannotPrint> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CannotPrint(error)),
        _ => Ok(()),
    }
}

/// Prints progress. Output that cannot be written is dropped, since the work does not depend on it.
pub(super) fn show(text: fmt::Arguments<'_>) {
    let mut out = stdout().lock();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}
