//! Connects the bodies of requests and answers with threads that read and write files.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use bytes::{Buf, Bytes};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{acting, failure::Failure};
use crate::{
    body::{self, Body, BodyError},
    connect::{Code, Error},
    users::User,
};

/// How many pieces wait between the reactor and a thread.
const WAITING: usize = 2;

/// How many bytes a piece of an answer has.
pub(super) const PIECE: usize = 128 << 10;

/// Runs `work` in a thread that reads the body of a request.
pub(super) async fn receive<T: Send + 'static>(
    user: &User,
    permit: OwnedSemaphorePermit,
    body: Incoming,
    gzip: bool,
    work: impl FnOnce(&mut Upload) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let working = acting::run_alone(user, move || {
        let _permit = permit;
        let pieces = Pieces { receiver, piece: Bytes::new(), done: false };
        work(&mut match gzip {
            true => Upload::Gzip(Box::new(MultiGzDecoder::new(pieces))),
            false => Upload::Plain(pieces),
        })
    });
    tokio::pin!(working);
    tokio::select! {
        biased;
        // It has failed, or needs no more: the client is told at once.
        done = &mut working => return done,
        () = feed(body, sender) => {}
    }
    working.await
}

/// Passes a body on, with a mark where it ends: a body that breaks off has none.
async fn feed(mut body: Incoming, sender: mpsc::Sender<io::Result<Option<Bytes>>>) {
    while let Some(frame) = body.frame().await {
        let piece = match frame {
            Ok(frame) => match frame.into_data() {
                Ok(data) if !data.is_empty() => Ok(Some(data)),
                // Trailers say nothing about files.
                _ => continue,
            },
            Err(error) => Err(io::Error::other(error)),
        };
        let failed = piece.is_err();
        if sender.send(piece).await.is_err() || failed {
            return;
        }
    }
    // The thread may have ended; then nobody needs the mark.
    _ = sender.send(Ok(None)).await;
}

/// The body of a request, read in a thread.
pub(super) enum Upload {
    Plain(Pieces),
    Gzip(Box<MultiGzDecoder<Pieces>>),
}

impl Upload {
    /// Writes the rest of the body to a file.
    pub(super) fn copy_to(&mut self, file: &mut File, path: &std::path::Path) -> Result<(), Failure> {
        while let Some(piece) = self.piece()? {
            file.write_all(&piece).map_err(|error| Failure::io(path, &error))?;
        }
        Ok(())
    }

    /// The next piece of the body, or `None` at its end.
    pub(super) fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = match self {
            Self::Plain(pieces) => pieces.next(),
            Self::Gzip(decoder) => {
                let mut piece = Vec::with_capacity(PIECE);
                let read = decoder.by_ref().take(PIECE as u64).read_to_end(&mut piece);
                read.map(|read| (read > 0).then(|| piece.into()))
            }
        };
        piece.map_err(|error| unreadable(&error))
    }
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(pieces) => pieces.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

/// The failure of reading a body.
pub(super) fn unreadable(error: &io::Error) -> Failure {
    Failure::bad(format!("the body cannot be read: {error}"))
}

/// What arrives from the reactor.
pub(super) struct Pieces {
    receiver: mpsc::Receiver<io::Result<Option<Bytes>>>,
    piece: Bytes,
    done: bool,
}

impl Pieces {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        if !self.piece.is_empty() {
            return Ok(Some(std::mem::take(&mut self.piece)));
        }
        if self.done {
            return Ok(None);
        }
        match self.receiver.blocking_recv() {
            Some(Ok(None)) => {
                self.done = true;
                Ok(None)
            }
            Some(piece) => piece,
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client has hung up")),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = self.next()?.unwrap_or_default();
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Runs `work` in a thread that writes the body of an answer. Returns when the work has called [`Download::begin`], with what
/// it was given there.
///
/// # Errors
///
/// What the work has failed with before that. A later failure breaks the body off.
pub(super) async fn send<H: Send + 'static>(
    user: &User,
    permit: OwnedSemaphorePermit,
    work: impl FnOnce(Download<H>) -> Result<(), Failure> + Send + 'static,
) -> Result<(H, Body), Failure> {
    let (begin, begun) = oneshot::channel();
    let (sender, body) = body::channel(WAITING);
    let user = user.clone();
    let work = tokio::spawn(async move {
        acting::run_alone(&user, move || {
            let _permit = permit;
            work(Download { begin, sender })
        })
        .await
    });
    match begun.await {
        Ok(head) => Ok((head, body)),
        Err(_) => match work.await {
            Ok(Err(failure)) => Err(failure),
            _ => Err(Error::new(Code::Internal, "the thread that worked on this request has died").into()),
        },
    }
}

/// An answer whose body is yet to begin.
pub(super) struct Download<H> {
    begin: oneshot::Sender<H>,
    sender: mpsc::Sender<Result<Bytes, BodyError>>,
}

impl<H> Download<H> {
    /// Tells the client that the answer begins, and writes its body. An error breaks the body off.
    pub(super) fn begin(self, head: H, gzip: bool, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.begin.send(head).is_err() {
            return;
        }
        let mut output = Output { sender: self.sender, piece: Vec::new() };
        let written = match gzip {
            true => {
                let mut encoder = GzEncoder::new(&mut output, Compression::fast());
                write(&mut encoder).and_then(|()| encoder.try_finish())
            }
            false => write(&mut output),
        };
        if let Err(error) = written.and_then(|()| output.flush()) {
            // A client that has hung up does not hear it.
            _ = output.sender.blocking_send(Err(Box::new(error)));
        }
    }
}

/// Collects what is written into pieces, and waits while the client reads slowly.
struct Output {
    sender: mpsc::Sender<Result<Bytes, BodyError>>,
    piece: Vec<u8>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve_exact(PIECE);
        }
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has hung up");
        self.sender.blocking_send(Ok(piece)).map_err(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Upload {
        /// A body that has arrived in these pieces; `None` is the mark of its end.
        pub(crate) fn arrived(pieces: &[Option<&'static [u8]>]) -> Self {
            let (sender, receiver) = mpsc::channel(8);
            for piece in pieces {
                sender.try_send(Ok(piece.map(Bytes::from_static))).unwrap();
            }
            Self::Plain(Pieces { receiver, piece: Bytes::new(), done: false })
        }
    }

    fn arrived(pieces: &[Option<&'static [u8]>]) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        Upload::arrived(pieces).read_to_end(&mut read).map(|_| read)
    }

    #[test]
    fn a_body_without_its_mark_has_broken_off() {
        assert_eq!(arrived(&[Some(b"ab"), Some(b"c"), None]).unwrap(), b"abc");
        assert_eq!(arrived(&[None]).unwrap(), b"");
        assert_eq!(arrived(&[Some(b"ab")]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(arrived(&[]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
