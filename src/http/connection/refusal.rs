//! The HTTP library's own errors. A request that it cannot read reaches no handler; it answers with a status and nothing
//! else, and closes the connection.

use actix_web::http::StatusCode;

use crate::http::{
    error::{ApiError, Code},
    gate,
};

/// The longest head of such an error.
const LONGEST: usize = 256;
const END: &[u8] = b"\r\n\r\n";
const BEGINNING: &[u8] = b"HTTP/1.";

/// A bare error at the end of the output.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    /// Where it begins.
    pub(super) start: usize,
    status: StatusCode,
    /// The first line, with version and status.
    line: &'a str,
    /// The header with its date.
    date: Option<&'a str>,
}

/// Whether this may end with a bare error. An answer with a body never does.
pub(super) fn may_end(bytes: &[u8]) -> bool {
    bytes.ends_with(END)
}

/// The bare error at the end of `bytes`. Answers of ours have headers that a bare one lacks, and nothing follows an error.
pub(super) fn find(bytes: &[u8]) -> Option<Refusal<'_>> {
    let from = bytes.len().saturating_sub(LONGEST);
    let last = bytes[from..].windows(BEGINNING.len()).rposition(|window| window == BEGINNING)?;
    let start = from + last;
    let head = std::str::from_utf8(&bytes[start..]).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let line = lines.next()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let (mut is_empty, mut date) = (false, None);
    for header in lines {
        match header.split_once(": ")? {
            ("content-length", "0") => is_empty = true,
            ("connection", _) => {}
            ("date", _) => date = Some(header),
            _ => return None,
        }
    }
    let status = StatusCode::from_u16(status).ok()?;
    let is_refusal = is_empty && (status.is_client_error() || status.is_server_error());
    is_refusal.then_some(Refusal { start, status, line, date })
}

impl Refusal<'_> {
    /// The error in the shape of all errors, with the headers of every answer.
    pub(super) fn in_our_shape(&self) -> Vec<u8> {
        let error = match self.status {
            StatusCode::REQUEST_TIMEOUT => {
                ApiError::new(Code::RequestTimeout, "the head of the request did not come in time; send it at once")
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => ApiError::new(
                Code::HeadersTooLarge,
                "the head of the request is too large; send at most 96 headers, and 128 KiB of them",
            ),
            status if status.is_server_error() => ApiError::new(Code::Internal, "the request could not be read"),
            _ => {
                let rule = "its first line is METHOD PATH VERSION, the path at most 64 KiB, it has Host once, and Content-Length is one \
                            number";
                ApiError::new(Code::InvalidRequest, format!("the head of the request is not valid HTTP/1: {rule}"))
            }
        };
        let body = error.json();
        let mut answer = format!("{}\r\ncontent-type: application/json\r\nconnection: close\r\n", self.line);
        for (name, value) in gate::HEADERS {
            answer.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
        if let Some(date) = self.date {
            answer.push_str(&format!("{date}\r\n"));
        }
        answer.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut answer = answer.into_bytes();
        answer.extend_from_slice(&body);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\ndate: Wed, 25 Nov 2026 19:53:05 GMT\r\n\r\n";

    fn found(text: &str) -> Option<(usize, StatusCode)> {
        find(text.as_bytes()).map(|refusal| (refusal.start, refusal.status))
    }

    #[test]
    fn a_bare_refusal_is_found_also_behind_another_answer() {
        assert_eq!(found(BARE), Some((0, StatusCode::BAD_REQUEST)));
        let other = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(found(&format!("{other}{BARE}")), Some((other.len(), StatusCode::BAD_REQUEST)));
    }

    #[test]
    fn an_answer_of_ours_is_no_bare_refusal() {
        for answer in [
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nx-content-type-options: nosniff\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 12\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "0\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert_eq!(found(answer), None, "{answer:?}");
        }
    }

    #[test]
    fn a_refusal_in_our_shape_is_a_whole_answer() {
        let answer = String::from_utf8(find(BARE.as_bytes()).unwrap().in_our_shape()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n") && head.contains("\r\nconnection: close"), "{head}");
        assert!(head.contains("date: Wed, 25 Nov") && head.contains("x-content-type-options: nosniff"), "{head}");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "invalid_request");
    }
}
