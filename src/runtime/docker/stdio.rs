//! The standard input and output of an exec, as a stream of bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bollard::{container::LogOutput, errors::Error};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes are collected before they are written: the longest frame of HTTP/2 that the agent takes, with its head.
const AT_ONCE: usize = (64 << 10) + 9;
/// How many bytes of space are kept while nothing is written.
const KEPT: usize = 4 << 10;

pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
pub(super) type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// The standard input and output of an exec.
///
/// What is written is collected until it is flushed: on its way into the container every write wakes each of a row of
/// processes, and HTTP/2 writes the head of a frame apart from its content.
pub(super) struct Stdio {
    messages: Messages,
    input: Input,
    /// What was received and is not read yet.
    rest: Bytes,
    /// What is to be written.
    collected: BytesMut,
}

impl Stdio {
    /// `rest` was received already.
    pub(super) fn new(messages: Messages, input: Input, rest: Bytes) -> Self {
        Self { messages, input, rest, collected: BytesMut::new() }
    }

    fn poll_write_collected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.collected.is_empty() {
            match ready!(self.input.as_mut().poll_write(context, &self.collected))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.collected.advance(written),
            }
        }
        // Most connections are for a few commands.
        if self.collected.capacity() > KEPT {
            self.collected = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stdio {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.messages.as_mut().poll_next(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(LogOutput::StdErr { message })) => {
                    tracing::debug!("an agent's dial says: {}", String::from_utf8_lossy(&message).trim());
                }
                Some(Ok(message)) => self.rest = message.into_bytes(),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        if self.rest.is_empty() {
            // It is a part of the buffer that is read into, which can be used again when no part is left.
            self.rest = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stdio {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.collected.len() >= AT_ONCE {
            ready!(self.poll_write_collected(context))?;
        }
        let length = bytes.len().min(AT_ONCE - self.collected.len());
        self.collected.extend_from_slice(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_collected(context))?;
        self.input.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_collected(context))?;
        self.input.as_mut().poll_shutdown(context)
    }
}
