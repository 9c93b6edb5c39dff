//! Reads what a driver and its cells tell, and passes it on to the cell that runs.
//!
//! Between cells it goes on reading, so that what a cell has left running does not stand still; nobody is told then.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::pipe2,
};
use rustix::process::WaitStatus;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Interest},
    net::unix::OwnedReadHalf,
    sync::mpsc,
    time::timeout,
};

use super::told::PIECE;
use crate::process::{Exit, Fd};

/// The longest line of a driver, in bytes. Drivers leave out what would be longer.
const LINE_BOUND: usize = 32 << 20;

/// The longest packet of a pipe (`PIPE_BUF`). A longer write is several.
const PACKET: usize = 4096;

/// How much a cell may have written that was not read yet, in bytes. Every packet takes a page of it.
const PIPE_SIZE: i32 = 512 << 10;

/// How long a driver may take to end after it has closed the socket.
const GRACE: Duration = Duration::from_secs(1);

/// What a driver and its cells tell.
#[derive(Debug)]
pub(super) enum Event {
    /// A cell has written this, at once.
    Output(&'static str, Vec<u8>),
    /// An object of the answer.
    Object(Bytes),
    /// The driver waits for its first cell, or says why it cannot run any.
    Ready(Result<(), String>),
    /// The cell runs from now on.
    Begun,
    /// The cell has ended, with this status.
    Done(i32),
    /// The process has ended; `None` if nobody knows how.
    Ended(Option<WaitStatus>),
}

/// To whom events are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Listener(Arc<Mutex<Option<mpsc::Sender<Event>>>>);

impl Listener {
    /// Tells events to this one from now on.
    pub(super) fn set(&self, sender: Option<mpsc::Sender<Event>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// Waits while the listener has no room; that is what holds back a cell whose client reads slowly.
    async fn tell(&self, event: Event) {
        let listener = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(listener) = listener {
            // One that has gone does not want it.
            _ = listener.send(event).await;
        }
    }
}

/// Our end of a pipe that a cell writes to.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: &'static str,
    fd: Fd,
    is_open: bool,
}

impl Pipe {
    /// Makes a pipe in which writes stay apart, where the kernel has such: the cell's end and ours.
    ///
    /// # Errors
    ///
    /// If there are no more descriptors.
    pub(super) fn new(stream: &'static str) -> io::Result<(std::os::fd::OwnedFd, Self)> {
        let made = pipe2(OFlag::O_CLOEXEC | OFlag::O_DIRECT).or_else(|_| pipe2(OFlag::O_CLOEXEC));
        let (ours, theirs) = made?;
        // A smaller one does, too: a user may have only so many.
        _ = fcntl(&theirs, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        Ok((theirs, Self { stream, fd: Fd::new(ours, Interest::READABLE)?, is_open: true }))
    }

    /// Waits for a write. Can be dropped and called again without a loss.
    async fn read(&mut self, buffer: &mut [u8]) -> Vec<u8> {
        if !self.is_open {
            std::future::pending::<()>().await;
        }
        let read = self.fd.read(buffer).await.unwrap_or(0);
        self.rest(read, buffer)
    }

    /// Everything that was written and not read.
    fn read_now(&mut self, buffer: &mut [u8]) -> Option<Vec<u8>> {
        if !self.is_open {
            return None;
        }
        let read = match self.fd.read_now(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            read => read.unwrap_or(0),
        };
        Some(self.rest(read, buffer)).filter(|read| !read.is_empty())
    }

    /// The whole write of which the buffer holds the first `length` bytes. There is none at the end.
    fn rest(&mut self, mut length: usize, buffer: &mut [u8]) -> Vec<u8> {
        self.is_open = length > 0;
        let mut all = buffer[..length].to_vec();
        // The writer holds the pipe until the last packet is in it, or the pipe is full.
        while length > 0 && length.is_multiple_of(PACKET) && all.len() < PIECE {
            match self.fd.read_now(buffer) {
                Ok(more @ 1..) => length = more,
                _ => break,
            }
            all.extend_from_slice(&buffer[..length]);
        }
        all
    }
}

/// Reads until the process has ended.
pub(super) async fn pump(control: OwnedReadHalf, mut pipes: [Pipe; 2], mut exit: Exit, listener: Listener) {
    let mut control = BufReader::new(control);
    let mut is_open = true;
    let mut line = Vec::new();
    let mut buffer = vec![0; 16 * PACKET];
    let mut other = vec![0; 16 * PACKET];
    let status = loop {
        if !is_open {
            // A driver that has closed it has ended, or is of no more use.
            break timeout(GRACE, &mut exit).await.ok().and_then(Result::ok).flatten();
        }
        let [stdout, stderr] = &mut pipes;
        let told = tokio::select! {
            status = &mut exit => break status.ok().flatten(),
            written = stdout.read(&mut buffer) => Some((0, written)),
            written = stderr.read(&mut other) => Some((1, written)),
            filled = control.fill_buf() => {
                is_open = filled.is_ok_and(|filled| !filled.is_empty());
                None
            }
        };
        match told {
            Some((_, written)) if written.is_empty() => {}
            Some((index, written)) => listener.tell(Event::Output(pipes[index].stream, written)).await,
            None => is_open &= take(&mut control, &mut line, &mut pipes, &mut buffer, &listener).await,
        }
    };
    while is_open && !control.buffer().is_empty() {
        is_open = take(&mut control, &mut line, &mut pipes, &mut buffer, &listener).await;
    }
    drain(&mut pipes, &mut buffer, &listener).await;
    listener.tell(Event::Ended(status)).await;
    listener.set(None);
    // A child of the process that goes on must not fail because nobody reads.
    let [mut stdout, mut stderr] = pipes;
    while stdout.is_open || stderr.is_open {
        tokio::select! {
            _ = stdout.read(&mut buffer) => {}
            _ = stderr.read(&mut other) => {}
        }
    }
}

/// Takes lines from what was read of the driver. Tells `false` if no more can be understood.
async fn take(
    control: &mut BufReader<OwnedReadHalf>,
    line: &mut Vec<u8>,
    pipes: &mut [Pipe; 2],
    buffer: &mut [u8],
    listener: &Listener,
) -> bool {
    let read = control.buffer().to_vec();
    control.consume(read.len());
    for part in read.split_inclusive(|byte| *byte == b'\n') {
        if line.len() + part.len() > LINE_BOUND {
            return false;
        }
        line.extend_from_slice(part);
        if part.ends_with(b"\n") {
            // What was written before comes before.
            drain(pipes, buffer, listener).await;
            if let Some(event) = event(std::mem::take(line)) {
                listener.tell(event).await;
            }
        }
    }
    true
}

async fn drain(pipes: &mut [Pipe; 2], buffer: &mut [u8], listener: &Listener) {
    for pipe in pipes {
        while let Some(written) = pipe.read_now(buffer) {
            listener.tell(Event::Output(pipe.stream, written)).await;
        }
    }
}

/// What a line of a driver says; nothing if it is not one of a driver.
fn event(line: Vec<u8>) -> Option<Event> {
    if line.starts_with(b"{") {
        return Some(Event::Object(line.into()));
    }
    let line = String::from_utf8_lossy(&line);
    let (word, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
    match word {
        "ready" => Some(Event::Ready(Ok(()))),
        "failed" => Some(Event::Ready(Err(rest.to_owned()))),
        "begun" => Some(Event::Begun),
        "done" => Some(Event::Done(rest.parse().unwrap_or(0))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_drivers_are_understood() {
        for (line, told) in [
            ("{}\n", Some(Event::Object(Bytes::from("{}\n")))),
            ("ready\n", Some(Event::Ready(Ok(())))),
            ("failed no such thing\n", Some(Event::Ready(Err("no such thing".to_owned())))),
            ("begun\n", Some(Event::Begun)),
            ("done 3\n", Some(Event::Done(3))),
            ("done\n", Some(Event::Done(0))),
            ("what\n", None),
            ("\n", None),
        ] {
            assert_eq!(format!("{:?}", event(line.as_bytes().to_vec())), format!("{told:?}"), "{line}");
        }
    }

    #[tokio::test]
    async fn each_write_is_one_however_long() {
        use std::io::Write;
        let (theirs, mut ours) = Pipe::new("stdout").unwrap();
        let mut writer = std::fs::File::from(theirs);
        let mut buffer = vec![0; 16 * PACKET];
        for length in [1, 4095, 4096, 4097, 10_000, 70_000] {
            writer.write_all(&vec![b'x'; length]).unwrap();
            writer.write_all(b"y").unwrap();
            let written = ours.read(&mut buffer).await;
            // A write of whole packets cannot be told from the beginning of a longer one.
            let with_next = if length.is_multiple_of(PACKET) { length + 1 } else { length };
            assert_eq!(written.len(), with_next, "{length}");
            if with_next == length {
                assert_eq!(ours.read(&mut buffer).await, b"y");
            }
        }
        assert_eq!(ours.read_now(&mut buffer), None);
        drop(writer);
        assert!(ours.read(&mut buffer).await.is_empty() && !ours.is_open);
    }
}
