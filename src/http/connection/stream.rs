//! A socket, as the HTTP library reads and writes it. Every ping passes through here, so bytes are examined but not copied,
//! except for the first request of a connection and the library's own errors.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::{
    head::{Verdict, examine},
    open::{Link, Open, State},
    refusal,
};

/// How long a client that was refused may continue to send.
const LINGER: Duration = Duration::from_secs(2);

/// A connection of a client.
pub(in crate::http) struct Connection {
    stream: TcpStream,
    beginning: Beginning,
    /// An error that replaces the library's, and ends the connection.
    farewell: Option<Farewell>,
    state: Rc<State>,
    open: Rc<Open>,
}

/// The state of the head of the first request.
enum Beginning {
    /// It is incomplete.
    Coming(Vec<u8>),
    /// It is complete and being passed on from this position.
    Known(Vec<u8>, usize),
    /// It was passed on.
    Over,
}

/// An error that is being sent. If a socket with unread bytes is closed, the client is told that the connection broke, and
/// may never read the answer. So only our side is closed, and the rest is read.
struct Farewell {
    answer: Vec<u8>,
    sent: usize,
    /// When reading ends; `None` until everything is sent.
    end: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Makes a connection and adds it to `open`.
    pub(in crate::http) fn new(stream: TcpStream, open: Rc<Open>) -> Self {
        let state = open.add(&stream);
        Self { stream, beginning: Beginning::Coming(Vec::new()), farewell: None, state, open }
    }

    /// The connection as its requests see it.
    pub(in crate::http) fn link(&self) -> Link {
        Link::new(self.state.clone(), self.open.clone())
    }

    fn read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if outcome.is_ok() && buffer.filled().len() > before {
            self.open.heard(&self.state);
        } else {
            self.state.ended();
        }
        Poll::Ready(outcome)
    }

    fn read_beginning(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        while let Beginning::Coming(come) = &mut self.beginning {
            let mut come = std::mem::take(come);
            match self.read(context, buffer) {
                Poll::Ready(Ok(())) => {}
                other => {
                    self.beginning = Beginning::Coming(come);
                    return other;
                }
            }
            let new = &buffer.filled()[before..];
            let is_end = new.is_empty();
            if come.is_empty() && examine(new) == Verdict::AsItIs {
                self.beginning = Beginning::Over;
                return Poll::Ready(Ok(()));
            }
            come.extend_from_slice(new);
            buffer.set_filled(before);
            self.beginning = match examine(&come) {
                Verdict::Incomplete if !is_end => Beginning::Coming(come),
                Verdict::Amended(instead) => Beginning::Known(instead, 0),
                Verdict::Incomplete | Verdict::AsItIs => Beginning::Known(come, 0),
            };
        }
        if let Beginning::Known(bytes, from) = &mut self.beginning {
            let next = &bytes[*from..][..buffer.remaining().min(bytes.len() - *from)];
            buffer.put_slice(next);
            *from += next.len();
            if *from == bytes.len() {
                self.beginning = Beginning::Over;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes output that ends like an error of the library.
    fn write_ending(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match refusal::find(bytes) {
            Some(refusal) if refusal.start == 0 => {
                let farewell = Farewell::new(refusal.in_our_shape());
                let done = self.farewell.insert(farewell).poll(&mut self.stream, context)?.is_ready();
                // The library keeps the connection while a byte is left.
                Poll::Ready(Ok(bytes.len() - usize::from(!done)))
            }
            Some(refusal) => Pin::new(&mut self.stream).poll_write(context, &bytes[..refusal.start]),
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }
}

impl Farewell {
    fn new(answer: Vec<u8>) -> Self {
        Self { answer, sent: 0, end: None }
    }

    fn poll(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.answer.len() {
            match ready!(Pin::new(&mut *stream).poll_write(context, &self.answer[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        if self.end.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
            self.end = Some(Box::pin(sleep(LINGER)));
        }
        let mut scrap = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scrap);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        self.end.as_mut().map_or(Poll::Ready(()), |end| end.as_mut().poll(context)).map(Ok)
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        match connection.beginning {
            Beginning::Over => connection.read(context, buffer),
            _ => connection.read_beginning(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let connection = self.get_mut();
        if let Some(farewell) = &mut connection.farewell {
            return farewell.poll(&mut connection.stream, context).map_ok(|()| bytes.len());
        }
        match refusal::may_end(bytes) {
            true => connection.write_ending(context, bytes),
            false => Pin::new(&mut connection.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.forget(&self.stream, &self.state);
    }
}
