//! A socket to the kernel's firewall: batches that take effect whole or not at all, and reading.
//!
//! The kernel handles a request while it is being sent, so its answers are there when the send returns, and nothing here waits.

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with, sockopt},
};

use super::{
    error::{Kind, WallsError},
    numbers::message,
    wire::{Attributes, Message, Writer, messages},
};

/// Bytes of one receive; the kernel's parts of a dump have at most 32 KiB.
const BUFFER: usize = 256 << 10;
/// Bytes that may wait to be received: acknowledgements and errors.
const RECEIVED: usize = 4 << 20;
/// A dump starts again this often if the firewall is changed meanwhile.
const ATTEMPTS: usize = 100;

/// The socket.
#[derive(Debug)]
pub(super) struct Kernel {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    /// Bytes that one batch may have.
    room: usize,
}

impl Kernel {
    pub(super) fn open() -> Result<Self, WallsError> {
        let doing = "a connection with the kernel's firewall";
        let failed = |errno| WallsError::of(errno, doing);
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))
                .map_err(failed)?;
        // Without the right, what it has is what others get; a batch that needs more is refused.
        _ = sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVED);
        let room = sockopt::socket_send_buffer_size(&socket).map_err(failed)?;
        let mut kernel = Self { socket, sequence: 0, buffer: vec![0; BUFFER], room };
        // Answered only to those who may administer the network.
        kernel.read(message::GET_GENERATION, 0, 0, doing, |_| {}, |_| ()).map_err(|error| match error.kind {
            Kind::Failed => WallsError::new(Kind::Unsupported, error.message),
            _ => error,
        })?;
        Ok(kernel)
    }

    /// Sends a batch. It takes effect whole, or not at all and the error says which part the kernel refused.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), WallsError> {
        let Some(last) = batch.parts.len().checked_sub(1) else { return Ok(()) };
        let first = self.sequence.wrapping_add(1);
        let mut writer = Writer::default();
        writer.message(message::BATCH_BEGIN, 0, first, 0, |_| {});
        self.sequence = first;
        for (index, part) in batch.parts.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            // One acknowledgement is enough, and thousands of them would not fit.
            let flags = part.flags | if index == last { message::ACK } else { 0 };
            writer.message(part.kind, flags, self.sequence, part.family, |attributes| {
                attributes.raw(&part.attributes);
            });
        }
        let acknowledged = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        writer.message(message::BATCH_END, 0, self.sequence, 0, |_| {});

        self.make_room(writer.bytes().len());
        send(&self.socket, writer.bytes(), SendFlags::empty())
            .map_err(|errno| WallsError::of(errno, "the firewall's rules"))?;
        let mut done = false;
        let mut refused = None;
        loop {
            let received = match self.receive() {
                Ok(received) => received,
                Err(Errno::AGAIN) => break,
                // So many errors that they did not fit; the first of them is enough.
                Err(Errno::NOBUFS) => {
                    refused.get_or_insert((0, Errno::NOBUFS));
                    continue;
                }
                Err(errno) => return Err(WallsError::of(errno, "the kernel's answer about the firewall's rules")),
            };
            for answer in messages(&self.buffer[..received]) {
                let part = answer.sequence.wrapping_sub(first);
                match answer.end() {
                    Some(Ok(())) => done |= answer.sequence == acknowledged,
                    Some(Err(errno)) if part <= acknowledged.wrapping_sub(first) => {
                        refused.get_or_insert((part, errno));
                    }
                    _ => {}
                }
            }
        }
        match refused {
            Some((part, errno)) => {
                // Part 0 is the batch: what only the whole of it shows, such as a loop of chains.
                let part = usize::try_from(part).ok().and_then(|part| batch.parts.get(part.checked_sub(1)?));
                Err(WallsError::of(errno, part.map_or("the firewall's rules as a whole", |part| &part.what)))
            }
            None if done => Ok(()),
            None => Err(WallsError::new(Kind::Failed, "the kernel did not say whether it took the firewall's rules")),
        }
    }

    /// Reads: `each` gets every message of the answer. Starts again if the firewall was changed meanwhile, with results of one
    /// attempt only.
    pub(super) fn read<T>(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        doing: &str,
        fill: impl Fn(&mut Attributes<'_>),
        mut each: impl FnMut(Message<'_>) -> T,
    ) -> Result<Vec<T>, WallsError> {
        for _ in 0..ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            let mut writer = Writer::default();
            // What is no dump is acknowledged, so that its end is known.
            let flags = if flags & message::DUMP == 0 { flags | message::ACK } else { flags };
            writer.message(kind, flags, self.sequence, family, &fill);
            send(&self.socket, writer.bytes(), SendFlags::empty()).map_err(|errno| WallsError::of(errno, doing))?;
            match self.answers(&mut each) {
                Ok(results) => return Ok(results),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(WallsError::of(errno, doing)),
            }
        }
        Err(WallsError::new(Kind::Failed, format!("{doing}: others change the firewall faster than it can be read")))
    }

    fn answers<T>(&mut self, each: &mut impl FnMut(Message<'_>) -> T) -> Result<Vec<T>, Errno> {
        let mut results = Vec::new();
        let mut interrupted = false;
        loop {
            let received = self.receive()?;
            for answer in messages(&self.buffer[..received]) {
                if answer.sequence != self.sequence {
                    continue;
                }
                interrupted |= answer.flags & message::DUMP_INTERRUPTED != 0;
                match answer.end() {
                    Some(Ok(())) if interrupted => return Err(Errno::INTR),
                    Some(Ok(())) => return Ok(results),
                    Some(Err(errno)) => return Err(errno),
                    None => results.push(each(answer)),
                }
            }
        }
    }

    fn receive(&mut self) -> Result<usize, Errno> {
        recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT).map(|(received, _)| received)
    }

    /// Lets the socket take a batch of so many bytes; the kernel takes it in one piece. If that fails, so does sending it.
    fn make_room(&mut self, bytes: usize) {
        let wanted = bytes + (bytes >> 1) + BUFFER;
        if self.room < wanted && sockopt::set_socket_send_buffer_size_force(&self.socket, wanted).is_ok() {
            self.room = wanted;
        }
    }
}

/// Changes that take effect together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    kind: u16,
    flags: u16,
    family: u8,
    attributes: Vec<u8>,
    /// In words, for errors.
    what: String,
}

impl Batch {
    /// Adds a change, `what` in words.
    pub(super) fn add(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        what: String,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let mut attributes = Vec::new();
        fill(&mut Attributes::of(&mut attributes));
        self.parts.push(Part { kind, flags, family, attributes, what });
    }

    /// Batches of one change each.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        self.parts.into_iter().map(|part| Self { parts: vec![part] })
    }
}
