//! The objects of an answer, one a line.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{clock, files::rfc3339};

/// The longest piece of one stream that is one object, in bytes.
pub(super) const PIECE: usize = 1 << 20;

/// One line of an answer.
pub(super) fn line(object: &Value) -> Bytes {
    Bytes::from(format!("{object}\n"))
}

pub(super) fn begin(count: u64) -> Bytes {
    line(&json!({ "type": "number_of_executions", "execution_count": count }))
}

pub(super) fn error(name: &str, value: &str, traceback: &str) -> Bytes {
    line(&json!({ "type": "error", "name": name, "value": value, "traceback": traceback }))
}

pub(super) fn keepalive() -> Bytes {
    line(&json!({ "type": "keepalive" }))
}

pub(super) fn end() -> Bytes {
    line(&json!({ "type": "end_of_execution" }))
}

/// What a cell has written, now. `stream` is `stdout` or `stderr`.
pub(super) fn output(stream: &str, text: &str) -> Bytes {
    let now = clock::now_ms().cast_signed();
    let timestamp = rfc3339(now.div_euclid(1000), now.rem_euclid(1000) * 1_000_000);
    line(&json!({ "type": stream, "text": text, "timestamp": timestamp }))
}

/// Makes text of pieces of bytes: a character that two pieces share is told with the second one.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    /// The text of what is whole so far.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let whole = whole(&self.held);
        let text = String::from_utf8_lossy(&self.held[..whole]).into_owned();
        self.held.drain(..whole);
        text
    }

    /// The text of the bytes that no other bytes have completed.
    pub(super) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

/// How many bytes there are before a character that is not whole yet.
fn whole(bytes: &[u8]) -> usize {
    // A character has four bytes at most.
    let tail = bytes.len().saturating_sub(3);
    let begin = bytes[tail..].iter().position(|byte| byte & 0xc0 != 0x80).map(|at| tail + at);
    let mut at = begin.unwrap_or(bytes.len());
    while at < bytes.len() {
        match str::from_utf8(&bytes[at..]) {
            Ok(_) => return bytes.len(),
            Err(error) => match error.error_len() {
                None => return at + error.valid_up_to(),
                Some(length) => at += error.valid_up_to() + length,
            },
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_in_two_pieces_is_told_whole() {
        let text = "aé€😀z";
        for split in 0..=text.len() {
            let mut decoder = Decoder::default();
            let first = decoder.decode(&text.as_bytes()[..split]);
            let second = decoder.decode(&text.as_bytes()[split..]);
            assert_eq!((format!("{first}{second}").as_str(), decoder.finish().as_str()), (text, ""), "{split}");
            assert!(text.starts_with(&first));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_not_held() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"a\xff\xfeb"), "a\u{fffd}\u{fffd}b");
        assert_eq!(decoder.decode(b"\x80\x80\x80\x80"), "\u{fffd}".repeat(4));
        assert_eq!(decoder.decode(b"x\xe2\x82"), "x");
        assert_eq!(decoder.finish(), "\u{fffd}");
    }
}
