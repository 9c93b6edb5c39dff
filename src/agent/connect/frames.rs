//! The frames of streams.

use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Serialize, de::DeserializeOwned};

use super::{Code, Error, MESSAGE_BOUND, parse, too_long};

/// The flag of a compressed message, which is refused: the agent announces no compression.
const COMPRESSED: u8 = 1;

/// The flag of the last frame.
const LAST: u8 = 2;

/// One byte of flags, four of length.
const HEAD: usize = 5;

/// The messages of a request.
#[derive(Debug)]
pub(crate) struct Messages<Q> {
    body: Incoming,
    buffered: BytesMut,
    kind: PhantomData<fn() -> Q>,
}

impl<Q: DeserializeOwned> Messages<Q> {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffered: BytesMut::new(), kind: PhantomData }
    }

    /// The next message, or `None` at the end of the request.
    ///
    /// # Errors
    ///
    /// `invalid_argument` if it cannot be read, `resource_exhausted` if it is too long, `canceled` if the client hangs up.
    pub(crate) async fn next(&mut self) -> Result<Option<Q>, Error> {
        loop {
            if let Some((flags, message)) = split(&mut self.buffered)? {
                return match flags {
                    0 => parse(&message).map(Some),
                    LAST => Ok(None),
                    COMPRESSED => Err(Error::new(Code::Unimplemented, "send messages without compression")),
                    _ => Err(Error::invalid(format!("a message has the flags {flags}, which mean nothing"))),
                };
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffered.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(Error::new(Code::Canceled, format!("the request broke off: {error}"))),
                None if self.buffered.is_empty() => return Ok(None),
                None => return Err(Error::invalid("the request ends in the middle of a message")),
            }
        }
    }
}

/// Takes the first frame off, if it is complete.
fn split(buffered: &mut BytesMut) -> Result<Option<(u8, Bytes)>, Error> {
    if buffered.len() < HEAD {
        return Ok(None);
    }
    let mut head = &buffered[..HEAD];
    let flags = head.get_u8();
    let length = head.get_u32() as usize;
    if length > MESSAGE_BOUND {
        return Err(too_long());
    }
    if buffered.len() < HEAD + length {
        return Ok(None);
    }
    buffered.advance(HEAD);
    Ok(Some((flags, buffered.split_to(length).freeze())))
}

/// A frame with a message.
pub(super) fn message(message: &impl Serialize) -> Result<Bytes, Error> {
    let json = serde_json::to_vec(message);
    json.map(|json| frame(0, &json)).map_err(|error| Error::new(Code::Internal, error.to_string()))
}

/// The last frame, which tells how the call has ended.
pub(super) fn last(error: Option<&Error>) -> Bytes {
    #[derive(Serialize)]
    struct Last<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Error>,
    }
    frame(LAST, &serde_json::to_vec(&Last { error }).unwrap_or_default())
}

fn frame(flags: u8, json: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + json.len());
    frame.put_u8(flags);
    frame.put_u32(u32::try_from(json.len()).unwrap_or(u32::MAX));
    frame.put_slice(json);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_where_they_end() {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&frame(0, b"{}"));
        bytes.extend_from_slice(&frame(LAST, b"{\"a\":1}"));
        let mut arriving = BytesMut::new();
        let mut seen = Vec::new();
        for byte in bytes {
            arriving.put_u8(byte);
            seen.extend(split(&mut arriving).unwrap());
        }
        assert_eq!(seen, [(0, Bytes::from_static(b"{}")), (LAST, Bytes::from_static(b"{\"a\":1}"))]);
        assert!(arriving.is_empty());
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_before_it_is_read() {
        let mut bytes = BytesMut::from(&[0, 0xff, 0xff, 0xff, 0xff][..]);
        let error = split(&mut bytes).unwrap_err();
        assert_eq!(error.code, Code::ResourceExhausted);
        assert!(error.message.contains(&MESSAGE_BOUND.to_string()), "{}", error.message);
    }

    #[test]
    fn the_last_frame_tells_the_error() {
        assert_eq!(last(None), frame(LAST, b"{}"));
        let error = Error { exit_code: Some(127), ..Error::not_found("no such command") };
        let told = r#"{"error":{"code":"not_found","message":"no such command","exitCode":127}}"#;
        assert_eq!(last(Some(&error)), frame(LAST, told.as_bytes()));
    }
}
