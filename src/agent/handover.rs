//! Hands the stdin of a dial over to the agent, which then reads it itself. Every byte is spared a copy, and every message a
//! wake-up of the dial.
//!
//! The dial sends its stdin together with the bytes that begin every connection of HTTP/2. An agent that takes it answers
//! [`TAKEN`]; one that knows nothing of this loses it and answers in HTTP/2, which never begins so. Where there is nothing to
//! hand over, as with a stdin that is no pipe, the dial copies.
//!
//! The dial goes on copying to stdout. An agent that wrote there itself would write whenever there is some room in the pipe,
//! and the engine would pass on more and smaller pieces, which costs it more than the copy.

use std::{
    io::{self, Cursor, IoSlice, IoSliceMut, Read},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{FileType, fstat},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};
use sandglass_agent::Agent;
use tokio::{
    io::{AsyncReadExt, Interest, join},
    net::unix::pipe,
};

/// What begins a connection of HTTP/2. A server that has read it answers at once.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Says that stdin was taken. The first byte of HTTP/2's answer is the highest of a length below 2^24, and of those that a
/// server begins with it is 0.
const TAKEN: u8 = 0xff;

/// How long the agent may take to notice that nobody writes to stdin any more.
const GRACE: Duration = Duration::from_secs(2);

/// What became of an offer.
pub(crate) enum Offered {
    /// The agent reads stdin.
    Taken,
    /// The dial has to copy: first what it has read from stdin, unless that was sent, and what the agent has answered.
    Refused { read: Vec<u8>, answered: Vec<u8> },
}

/// Offers stdin to the agent.
pub(crate) fn offer(stream: &mut UnixStream, stdin: &mut (impl Read + AsFd)) -> io::Result<Offered> {
    let mut read = Vec::with_capacity(PREFACE.len());
    while read.len() < PREFACE.len() && PREFACE.starts_with(&read) {
        let mut rest = [0; PREFACE.len()];
        match stdin.read(&mut rest[..PREFACE.len() - read.len()]) {
            Ok(0) => break,
            Ok(length) => read.extend_from_slice(&rest[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if read != PREFACE || !is_pipe(stdin) || send(stream, stdin.as_fd()).is_err() {
        return Ok(Offered::Refused { read, answered: Vec::new() });
    }
    let mut answered = vec![0; 1];
    stream.read_exact(&mut answered)?;
    Ok(match answered[..] {
        [TAKEN] => Offered::Taken,
        _ => Offered::Refused { read: Vec::new(), answered },
    })
}

fn is_pipe(fd: &impl AsFd) -> bool {
    fstat(fd).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Fifo)
}

/// Sends the preface with stdin. So few bytes into an empty socket are sent as a whole or not at all.
fn send(stream: &UnixStream, stdin: BorrowedFd<'_>) -> io::Result<()> {
    let (mut space, stdin) = ([MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))], [stdin]);
    let mut with = SendAncillaryBuffer::new(&mut space);
    with.push(SendAncillaryMessage::ScmRights(&stdin));
    sendmsg(stream, &[IoSlice::new(PREFACE)], &mut with, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits until nobody writes to stdin any more, and then so long that the agent has noticed it, unless it waits for room in a
/// stdout that nobody reads. Then the dial's end tells it.
pub(crate) fn wait_for_end(stdin: &impl AsFd) {
    // Without events, a hang-up is told.
    while poll(&mut [PollFd::new(stdin, PollFlags::empty())], None) == Err(rustix::io::Errno::INTR) {}
    std::thread::sleep(GRACE);
}

/// Serves a connection, and reads the stdin of its dial itself if that hands it over.
pub(crate) async fn serve(stream: tokio::net::UnixStream, agent: &Agent) -> io::Result<()> {
    let (begun, stdin) = stream.async_io(Interest::READABLE, || receive(&stream)).await?;
    let begun = Cursor::new(begun);
    let Some(stdin) = stdin else {
        let (reader, writer) = stream.into_split();
        _ = sandglass_agent::serve(join(AsyncReadExt::chain(begun, reader), writer), agent).await;
        return Ok(());
    };
    let stdin = AsyncReadExt::chain(begun, pipe::Receiver::from_owned_fd(stdin)?);
    stream.writable().await?;
    stream.try_write(&[TAKEN])?;
    let (reader, writer) = stream.into_split();
    tokio::select! {
        _ended = sandglass_agent::serve(join(stdin, writer), agent) => {}
        // The dial writes nothing more, so it has ended.
        _gone = reader.as_ref().async_io(Interest::READABLE, || reader.try_read(&mut [0])) => {}
    }
    Ok(())
}

/// Receives the first bytes of a connection, and a stdin if it comes with them.
fn receive(stream: &tokio::net::UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut begun = vec![0; PREFACE.len()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut begun)], &mut with, RecvFlags::CMSG_CLOEXEC)?;
    begun.truncate(received.bytes);
    let mut sent = Vec::new();
    for message in with.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            sent.extend(descriptors);
        }
    }
    let is_offer = begun == PREFACE && !received.flags.contains(ReturnFlags::CTRUNC);
    Ok((begun, sent.pop().filter(|_| is_offer)))
}
