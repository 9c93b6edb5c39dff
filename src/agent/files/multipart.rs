//! Uploads of several files in one form, as E2B's clients send them.

use std::{
    collections::HashSet,
    io::Write,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;
use multer::{Field, Multipart};

use super::{
    failure::Failure,
    paths,
    transfer::Upload,
    write::{self, Metadata},
};
use crate::users::User;

/// How many files one form may have.
const FILES_BOUND: usize = 10_000;

/// Writes the files of a form, whose fields are called `file` and have paths as names of files. `path` is where the only file
/// goes, whatever its name.
pub(super) fn receive(
    body: &mut Upload,
    boundary: &str,
    path: Option<&Path>,
    user: &User,
    metadata: &Metadata,
) -> Result<Vec<PathBuf>, Failure> {
    let mut form = Multipart::new(InSteps { body, ready: true }, boundary);
    let (mut written, mut seen) = (Vec::new(), HashSet::new());
    while let Some(field) = wait(|context| form.poll_next_field(context)).map_err(|error| unreadable(&error))? {
        if field.name() != Some("file") {
            continue;
        }
        let target = match (path, field.file_name()) {
            (Some(path), _) => path.to_owned(),
            (None, Some(name)) => paths::resolve(name, user)?,
            (None, None) => return Err(Failure::bad("a field \"file\" of the form has no filename")),
        };
        if !seen.insert(target.clone()) {
            return Err(Failure::bad(format!("{}: is in the form twice; the first was written", target.display())));
        }
        if written.len() == FILES_BOUND {
            return Err(Failure { status: 429, message: format!("a form may have {FILES_BOUND} files") });
        }
        save(field, &target, metadata)?;
        written.push(target);
    }
    Ok(written)
}

fn save(mut field: Field<'_>, path: &Path, metadata: &Metadata) -> Result<(), Failure> {
    write::in_place(path, metadata, |file| {
        while let Some(piece) = wait(|context| Pin::new(&mut field).poll_next(context)) {
            let piece = piece.map_err(|error| unreadable(&error))?;
            file.write_all(&piece).map_err(|error| Failure::io(path, &error))?;
        }
        Ok(())
    })
}

fn unreadable(error: &multer::Error) -> Failure {
    Failure::bad(format!("the form cannot be read: {error}"))
}

/// The body as the parser takes it. It reads as much as there is whenever it reads, so that it is told between two pieces that
/// there is no more for now; otherwise it would hold all of the body.
struct InSteps<'a> {
    body: &'a mut Upload,
    ready: bool,
}

impl Stream for InSteps<'_> {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready = !self.ready;
        if self.ready {
            return Poll::Pending;
        }
        let piece = self.body.piece().map_err(|failure| std::io::Error::other(failure.message));
        Poll::Ready(piece.transpose())
    }
}

/// Waits for the parser in this thread. It is pending only between two pieces, and may be asked again at once.
fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = poll(&mut context) {
            return done;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_gets_one_piece_at_a_time() {
        let mut body = Upload::arrived(&[Some(b"one"), Some(b"two"), None]);
        let mut steps = InSteps { body: &mut body, ready: true };
        let mut context = Context::from_waker(Waker::noop());
        let mut next = || match Pin::new(&mut steps).poll_next(&mut context) {
            Poll::Ready(piece) => piece.map_or(Some("end".into()), |piece| piece.ok()),
            Poll::Pending => None,
        };
        let told: Vec<_> = (0..5).map(|_| next()).collect();
        assert_eq!(told, [Some("one".into()), None, Some("two".into()), None, Some(Bytes::from("end"))]);
    }
}
