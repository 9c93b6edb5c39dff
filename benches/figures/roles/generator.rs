//! The load generator: connections that each send a request, wait for the answer, and send the next, on one thread. It
//! needs less processor time per request than a general client.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
    time::{Instant, sleep_until},
};

use super::{questions, read, say};
use crate::{
    load::{Done, Kind, Load, quantile},
    planted::id_text,
};

pub(super) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let mut questions = questions();
        while let Some(question) = questions.recv().await {
            say(&put(read(&question)).await);
        }
    });
}

/// The results of all connections.
#[derive(Default)]
struct Notes {
    /// Latencies in microseconds.
    latencies: Vec<f32>,
    refused: usize,
}

async fn put(load: Load) -> Done {
    let notes = Rc::new(RefCell::new(Notes::default()));
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(load.seconds);
    let connections: Vec<_> = (0..load.connections)
        .map(|number| tokio::task::spawn_local(Connection::run(load, number as u64, until, notes.clone())))
        .collect();
    for connection in connections {
        connection.await.expect("the server answers in HTTP");
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut notes = notes.borrow_mut();
    notes.latencies.sort_unstable_by(f32::total_cmp);
    let (p50, p99) = (quantile(&notes.latencies, 0.5), quantile(&notes.latencies, 0.99));
    Done { requests: notes.latencies.len(), refused: notes.refused, seconds, p50, p99 }
}

struct Connection {
    stream: TcpStream,
    over: Kind,
    random: Random,
    request: Vec<u8>,
    /// The positions of ids in the request.
    holes: Vec<usize>,
    answer: Vec<u8>,
}

impl Connection {
    async fn run(load: Load, number: u64, until: Instant, notes: Rc<RefCell<Notes>>) {
        let stream = TcpStream::connect(("127.0.0.1", load.port)).await.expect("the server listens");
        stream.set_nodelay(true).expect("an option of every socket");
        let (request, holes) = request(load.kind);
        let over = load.kind;
        let mut connection = Self { stream, over, random: Random::new(number), request, holes, answer: Vec::new() };
        if matches!(over, Kind::Websocket) {
            connection.upgrade().await;
        }
        let every = load.rate.map(|rate| Duration::from_secs_f64(load.connections as f64 / rate));
        let mut next = Instant::now() + every.unwrap_or_default().mul_f64(number as f64 / load.connections as f64);
        while Instant::now() < until {
            if let Some(every) = every {
                sleep_until(next).await;
                next += every;
            }
            for hole in &connection.holes {
                let id = connection.random.below(load.sandboxes as u64);
                write_number(&mut connection.request[*hole..*hole + 20], id);
            }
            let sent = Instant::now();
            let good = connection.exchange().await;
            let latency = sent.elapsed().as_secs_f32() * 1e6;
            let mut notes = notes.borrow_mut();
            if good { notes.latencies.push(latency) } else { notes.refused += 1 }
        }
    }

    /// Sends the request, reads the whole answer, and returns whether it is a success.
    async fn exchange(&mut self) -> bool {
        self.stream.write_all(&self.request).await.expect("the server takes requests");
        if matches!(self.over, Kind::Websocket) {
            return self.pong().await;
        }
        self.answer.clear();
        let mut whole = None;
        while whole.is_none_or(|whole| self.answer.len() < whole) {
            let read = self.stream.read_buf(&mut self.answer).await.expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            whole = whole.or_else(|| length(&self.answer));
        }
        self.answer.starts_with(b"HTTP/1.1 200") && !contains(&self.answer, b"\"ok\":false")
    }
}

/// A filter without matches, so that little more than the answers to pings is sent.
const UPGRADE: &str = "GET /v1/stream?id=nobody HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

impl Connection {
    async fn upgrade(&mut self) {
        self.stream.write_all(UPGRADE.as_bytes()).await.expect("the server takes requests");
        let head = loop {
            self.read_more().await;
            if let Some(at) = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
        };
        assert!(self.answer.starts_with(b"HTTP/1.1 101"), "the server speaks websocket");
        self.answer.drain(..head);
    }

    /// Reads frames up to the answer to a ping, and returns whether it is a success.
    async fn pong(&mut self) -> bool {
        loop {
            let Some((begin, end)) = frame(&self.answer) else {
                self.read_more().await;
                continue;
            };
            let text = &self.answer[begin..end];
            let good = text.starts_with(b"{\"type\":\"pong\"").then(|| contains(text, b"\"ok\":true"));
            self.answer.drain(..end);
            if let Some(good) = good {
                return good;
            }
        }
    }

    async fn read_more(&mut self) {
        let read = self.stream.read_buf(&mut self.answer).await.expect("the server answers");
        assert!(read > 0, "the server closed the connection");
    }
}

/// The range of the first frame's payload (RFC 6455, 5.2), if it is complete.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (begin, length) = match bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(*short)),
    };
    (bytes.len() >= begin + length).then_some((begin, begin + length))
}

/// A request, and the positions of its ids.
fn request(kind: Kind) -> (Vec<u8>, Vec<usize>) {
    let id = id_text(0);
    if matches!(kind, Kind::Websocket) {
        let text = format!("{{\"type\":\"ping\",\"id\":\"{id}\"}}");
        // A text frame with a mask of zeros, short enough for a length of one byte.
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).expect("a short text"), 0, 0, 0, 0];
        let hole = frame.len() + text.find(&id).expect("the id is in it");
        frame.extend_from_slice(text.as_bytes());
        return (frame, vec![hole]);
    }
    let text = match kind {
        Kind::Websocket => unreachable!("a frame is no text"),
        Kind::Ping => {
            format!("POST /v1/sandboxes/{id}/activity HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        }
        Kind::Batch(count) => {
            let ids = vec![format!("\"{id}\""); count].join(",");
            let body = format!("{{\"ids\":[{ids}]}}");
            format!("POST /v1/activity HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
    };
    let holes = text.match_indices(&id).map(|(at, _)| at).collect();
    (text.into_bytes(), holes)
}

/// The length of an answer, once its head is complete.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).expect("a head is text");
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
    Some(head + length.and_then(|length| length.parse::<usize>().ok()).expect("an answer has a length"))
}

/// Looks only at the beginning: the first result of a batch stands for all.
fn contains(answer: &[u8], words: &[u8]) -> bool {
    answer[..answer.len().min(600)].windows(words.len()).any(|bytes| bytes == words)
}

/// Writes an id's number over its digits, which follow its first letter.
fn write_number(id: &mut [u8], mut number: u64) {
    for digit in id[1..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Marsaglia's xorshift, good enough to spread ids.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}
