//! The head of a connection's first request.
//!
//! In HTTP/1.0, a `POST` without a `Content-Length` has no body (RFC 1945, 7.2.2). The HTTP library refuses it all the
//! same. nginx speaks HTTP/1.0 to its upstreams by default, and sends every ping like that.

/// The longest head that is waited for; the library refuses longer ones.
const LONGEST: usize = 16 * 1024;

const METHOD: &[u8] = b"POST ";
const VERSION: &[u8] = b" HTTP/1.0";
/// The connection closes, so that a body of unknown length is not taken for another request.
const INSERTED: &[u8] = b"Content-Length: 0\r\nConnection: close\r\n";

/// What to do with the beginning of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be a `POST` over HTTP/1.0; more bytes are needed.
    Incomplete,
    /// The library understands or refuses it.
    AsItIs,
    /// Replace it by this.
    Amended(Vec<u8>),
}

/// Examines all bytes so far.
pub(super) fn examine(bytes: &[u8]) -> Verdict {
    let incomplete = if bytes.len() < LONGEST { Verdict::Incomplete } else { Verdict::AsItIs };
    // Empty lines before a request are to be ignored (RFC 9112, 2.2).
    let Some(start) = bytes.iter().position(|byte| !b"\r\n".contains(byte)) else { return incomplete };
    let request = &bytes[start..];
    if !request.starts_with(METHOD) {
        return if METHOD.starts_with(request) { incomplete } else { Verdict::AsItIs };
    }
    let Some(line_end) = request.iter().position(|byte| *byte == b'\n') else { return incomplete };
    if !request[..line_end].trim_ascii_end().ends_with(VERSION) {
        return Verdict::AsItIs;
    }
    let (line, headers) = request.split_at(line_end + 1);
    let mut rest = headers;
    loop {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return incomplete };
        let (header, after) = rest.split_at(end + 1);
        rest = after;
        if header.trim_ascii_end().is_empty() {
            break;
        }
        if tells_length(header) {
            return Verdict::AsItIs;
        }
    }
    // A body needs a length.
    if !rest.is_empty() {
        return Verdict::AsItIs;
    }
    Verdict::Amended([line, INSERTED, headers].concat())
}

fn tells_length(header: &[u8]) -> bool {
    let name = header.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii();
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_over_http_1_0_without_a_length_has_no_body() {
        let head = b"POST /v1/sandboxes/a/activity HTTP/1.0\r\nHost: a\r\n\r\n";
        let amended =
            b"POST /v1/sandboxes/a/activity HTTP/1.0\r\nContent-Length: 0\r\nConnection: close\r\nHost: a\r\n\r\n";
        assert_eq!(examine(head), Verdict::Amended(amended.to_vec()));
        for end in 0..head.len() {
            assert_eq!(examine(&head[..end]), Verdict::Incomplete, "{end}");
        }
        assert!(matches!(examine(b"\r\nPOST / HTTP/1.0\n\n"), Verdict::Amended(_)));
    }

    #[test]
    fn whatever_else_comes_is_left_as_it_is() {
        for head in [
            "POST / HTTP/1.1\r\n",
            "GET / HTTP/1.0\r\n",
            "DELETE",
            "post / HTTP/1.0\r\n\r\n",
            "POST / HTTP/1.0\r\nContent-length : 0\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nCONTENT-LENGTH: 3\r\n\r\nabc",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
            "POST / HTTP/1.0\r\n\r\nbody",
            "POST /\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(examine(head.as_bytes()), Verdict::AsItIs, "{head:?}");
        }
    }

    #[test]
    fn a_head_without_an_end_is_not_waited_for_forever() {
        let endless = format!("POST /{}", "x".repeat(LONGEST));
        assert_eq!(examine(endless.as_bytes()), Verdict::AsItIs);
    }
}
