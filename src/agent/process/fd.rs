//! A pipe or a terminal that is read and written without blocking.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd,
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::system;

/// An end of a pipe, or a terminal's master.
#[derive(Debug)]
pub(crate) struct Fd(AsyncFd<OwnedFd>);

impl Fd {
    /// Has to be called in a runtime.
    ///
    /// # Errors
    ///
    /// If the operating system refuses it.
    pub(crate) fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        system::watch(fd, interest).map(Self)
    }

    /// Reads as soon as there is something. Zero is the end, also of a terminal that nobody has open any more.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(read) = ready.try_io(|fd| read(fd.get_ref(), buffer)) {
                return read;
            }
        }
    }

    /// Reads the available bytes, or fails with `WouldBlock`.
    pub(crate) fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        read(self.0.get_ref(), buffer)
    }

    /// Writes all.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            let written = ready.try_io(|fd| match unistd::write(fd.get_ref(), bytes) {
                Err(Errno::EINTR) => Ok(0),
                written => written.map_err(io::Error::from),
            });
            if let Ok(written) = written {
                bytes = &bytes[written?..];
            }
        }
        Ok(())
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn read(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match unistd::read(fd, buffer) {
            Err(Errno::EINTR) => {}
            // A terminal's way of saying that the other side is closed.
            Err(Errno::EIO) => return Ok(0),
            read => return read.map_err(io::Error::from),
        }
    }
}
