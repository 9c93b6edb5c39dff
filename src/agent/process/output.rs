//! The output of one process: the newest of it is kept, and any number of readers follow it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{kept::Kept, messages::From};

/// How long a process waits for a reader that takes nothing, before that reader misses output. A reader that keeps reading
/// misses nothing, however slowly it does; one that has stopped costs the process this much once.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most bytes of one event.
const CHUNK: usize = 64 << 10;

/// How many bytes are there for readers at least, also where less is kept for later ones.
const READERS_SHARE: usize = 2 * CHUNK;

/// A stream of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
    Pty,
}

impl Stream {
    const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Pty];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Pty => "pty",
        }
    }
}

/// The output of one process.
#[derive(Debug)]
pub(super) struct Output {
    state: Mutex<State>,
    /// There is more to read, or nothing will follow.
    grown: Notify,
    /// A reader has read, or is gone.
    taken: Notify,
}

#[derive(Debug)]
struct State {
    /// By the number of the stream.
    streams: [Kept; 3],
    readers: HashMap<u64, Cursor>,
    next_reader: u64,
    /// How much is kept of each stream for readers to come.
    keep: usize,
    /// Nothing follows.
    finished: bool,
}

/// What a reader has read.
#[derive(Debug)]
struct Cursor {
    /// The next position, by the number of the stream.
    at: [u64; 3],
    /// It has taken nothing for so long that nobody waits for it any more, until it reads again.
    stuck: bool,
}

impl Output {
    /// Keeps at most `keep` bytes of each stream.
    pub(super) fn new(keep: usize) -> Arc<Self> {
        let bound = keep.max(READERS_SHARE);
        let state = State {
            streams: [Kept::new(bound), Kept::new(bound), Kept::new(bound)],
            readers: HashMap::new(),
            next_reader: 0,
            keep,
            finished: false,
        };
        Arc::new(Self { state: Mutex::new(state), grown: Notify::new(), taken: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader that starts at `from`, or with the oldest bytes that are kept.
    pub(super) fn read(self: &Arc<Self>, from: From) -> Reader {
        let mut state = self.state();
        let number = state.next_reader;
        state.next_reader += 1;
        let at = [from.stdout, from.stderr, from.pty];
        let keep = state.keep;
        let at = std::array::from_fn(|index| {
            let stream = &state.streams[index];
            // Nobody can have read what was not written yet.
            at[index].unwrap_or(0).clamp(stream.newest(keep), stream.end())
        });
        state.readers.insert(number, Cursor { at, stuck: false });
        drop(state);
        Reader { output: Arc::clone(self), number, first: 0 }
    }

    /// Adds output. Waits, with a bound, while a reader would miss some of what is there already.
    pub(super) async fn push(&self, stream: Stream, bytes: &[u8]) {
        for part in bytes.chunks(CHUNK) {
            loop {
                let taken = self.taken.notified();
                tokio::pin!(taken);
                taken.as_mut().enable();
                {
                    let mut state = self.state();
                    if !state.would_miss(stream, part.len()) {
                        state.streams[stream as usize].push(part);
                        break;
                    }
                }
                if tokio::time::timeout(PATIENCE, taken).await.is_err() {
                    self.state().give_up(stream, part.len());
                }
            }
            self.grown.notify_waiters();
        }
    }

    /// Nothing follows.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        state.finished = true;
        if state.readers.is_empty() {
            state.trim();
        }
        drop(state);
        self.grown.notify_waiters();
    }

    /// The bytes that are kept.
    pub(super) fn len(&self) -> usize {
        self.state().streams.iter().map(Kept::len).sum()
    }
}

impl State {
    fn would_miss(&self, stream: Stream, more: usize) -> bool {
        let start = self.streams[stream as usize].start_after(more);
        self.readers.values().any(|reader| !reader.stuck && reader.at[stream as usize] < start)
    }

    fn give_up(&mut self, stream: Stream, more: usize) {
        let start = self.streams[stream as usize].start_after(more);
        for reader in self.readers.values_mut().filter(|reader| reader.at[stream as usize] < start) {
            reader.stuck = true;
        }
    }

    fn trim(&mut self) {
        let keep = self.keep;
        for stream in &mut self.streams {
            stream.finish(keep);
        }
    }
}

/// Follows the output of a process.
#[derive(Debug)]
pub(super) struct Reader {
    output: Arc<Output>,
    number: u64,
    /// The stream that is asked first; the others get their turn.
    first: usize,
}

/// A part of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) stream: Stream,
    /// The position of the first byte.
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

impl Reader {
    /// The next part, or `None` if nothing will follow. Can be dropped and called again without a loss.
    pub(super) async fn next(&mut self) -> Option<Part> {
        loop {
            let output = Arc::clone(&self.output);
            let grown = output.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            match self.take() {
                Taken::Part(part) => return Some(part),
                Taken::Finished => return None,
                Taken::Nothing => {}
            }
            grown.await;
        }
    }

    fn take(&mut self) -> Taken {
        let mut state = self.output.state();
        let State { streams, readers, finished, .. } = &mut *state;
        let Some(cursor) = readers.get_mut(&self.number) else { return Taken::Finished };
        let turns = (0..3).map(|turn| (self.first + turn) % 3);
        let found = turns.into_iter().find_map(|index| Some((index, streams[index].read(cursor.at[index], CHUNK)?)));
        let Some((index, (offset, bytes))) = found else {
            return if *finished { Taken::Finished } else { Taken::Nothing };
        };
        cursor.at[index] = offset + bytes.len() as u64;
        cursor.stuck = false;
        drop(state);
        self.first = (index + 1) % 3;
        self.output.taken.notify_waiters();
        Taken::Part(Part { stream: Stream::ALL[index], offset, bytes })
    }
}

enum Taken {
    Part(Part),
    Nothing,
    Finished,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.output.state();
        state.readers.remove(&self.number);
        if state.finished && state.readers.is_empty() {
            state.trim();
        }
        drop(state);
        self.output.taken.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const ALL: From = From { stdout: None, stderr: None, pty: None };

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_slowly_misses_nothing() {
        let output = Output::new(1 << 20);
        let mut reader = output.read(ALL);
        let bytes: Vec<u8> = (0..4 << 20_u32).map(|at| (at % 251) as u8).collect();
        let written = bytes.clone();
        let writer = Arc::clone(&output);
        tokio::spawn(async move {
            writer.push(Stream::Stdout, &written).await;
            writer.finish();
        });
        let mut read = Vec::new();
        while let Some(part) = reader.next().await {
            assert_eq!(part.offset, read.len() as u64);
            read.extend(part.bytes);
            tokio::time::sleep(PATIENCE / 2).await;
        }
        assert!(read == bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_has_stopped_does_not_stop_the_process_and_jumps_ahead() {
        let output = Output::new(1 << 20);
        let mut reader = output.read(ALL);
        let began = Instant::now();
        output.push(Stream::Stdout, &vec![7; 8 << 20]).await;
        assert!(began.elapsed() < 2 * PATIENCE, "{:?}", began.elapsed());
        output.finish();
        let part = reader.next().await.unwrap();
        assert_eq!(part.offset, 7 << 20);
        drop(reader);
        assert_eq!(output.len(), 1 << 20);
    }

    #[tokio::test]
    async fn a_reader_starts_where_it_wants_to() {
        let output = Output::new(4);
        output.push(Stream::Stderr, b"0123456789").await;
        let mut reader = output.read(From { stderr: Some(8), ..ALL });
        assert_eq!(reader.next().await.unwrap(), Part { stream: Stream::Stderr, offset: 8, bytes: b"89".to_vec() });
        let mut reader = output.read(ALL);
        assert_eq!(reader.next().await.unwrap(), Part { stream: Stream::Stderr, offset: 6, bytes: b"6789".to_vec() });
        let mut reader = output.read(From { stderr: Some(100), ..ALL });
        output.push(Stream::Stderr, b"x").await;
        assert_eq!(reader.next().await.unwrap(), Part { stream: Stream::Stderr, offset: 10, bytes: b"x".to_vec() });
        output.finish();
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test]
    async fn streams_take_turns() {
        let output = Output::new(1 << 20);
        output.push(Stream::Stdout, &[1; CHUNK * 2]).await;
        output.push(Stream::Stderr, &[2; CHUNK * 2]).await;
        output.finish();
        let mut reader = output.read(ALL);
        let mut seen = Vec::new();
        while let Some(part) = reader.next().await {
            seen.push(part.stream);
        }
        assert_eq!(seen, [Stream::Stdout, Stream::Stderr, Stream::Stdout, Stream::Stderr]);
    }
}
