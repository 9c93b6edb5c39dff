//! The codec of the quarantine: readable JSON from which all bytes can be restored.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use crate::{domain::EpochSeconds, ports::store::Quarantined};

/// The prefix of an encoded member: one that is no text, or that begins with this prefix.
const ENCODED: &str = "base64:";

/// An entry, with the bytes in `text` if they are valid UTF-8, else in `base64`.
#[derive(Serialize, Deserialize)]
struct Entry {
    reason: String,
    at: EpochSeconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// The field's name for a member.
pub(super) fn field(member: &[u8]) -> String {
    match std::str::from_utf8(member) {
        Ok(text) if !text.starts_with(ENCODED) => text.to_owned(),
        _ => format!("{ENCODED}{}", BASE64_STANDARD.encode(member)),
    }
}

/// Encodes an entry.
pub(super) fn value(bytes: &[u8], reason: &str, at: EpochSeconds) -> String {
    let text = std::str::from_utf8(bytes).ok().map(str::to_owned);
    let base64 = text.is_none().then(|| BASE64_STANDARD.encode(bytes));
    // JSON has no NaN.
    let at = if at.is_finite() { at } else { 0.0 };
    serde_json::json!(Entry { reason: reason.to_owned(), at, text, base64 }).to_string()
}

/// Decodes an entry. A foreign value is returned as it is.
pub(super) fn read(field: &[u8], value: Vec<u8>) -> Quarantined {
    let member = member_of(field);
    match parse(&value) {
        Some((bytes, reason, at)) => Quarantined { member, bytes, reason, at },
        None => Quarantined { member, bytes: value, reason: "not an entry of Sandglass".to_owned(), at: 0.0 },
    }
}

fn member_of(field: &[u8]) -> Vec<u8> {
    field
        .strip_prefix(ENCODED.as_bytes())
        .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok())
        .unwrap_or_else(|| field.to_vec())
}

fn parse(value: &[u8]) -> Option<(Vec<u8>, String, EpochSeconds)> {
    let entry: Entry = serde_json::from_slice(value).ok()?;
    let bytes = match (entry.text, entry.base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(encoded)) => BASE64_STANDARD.decode(encoded).ok()?,
        _ => return None,
    };
    Some((bytes, entry.reason, entry.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_and_every_byte_comes_back() {
        for member in [&b"plain"[..], b"", b"\xff\x00", b"base64:", b"base64:AA==", "\u{fc}".as_bytes()] {
            for bytes in [&b"{}"[..], b"", b"\x80\x81", b"\0"] {
                let entry = read(field(member).as_bytes(), value(bytes, "why", 5.5).into_bytes());
                let expected =
                    Quarantined { member: member.to_vec(), bytes: bytes.to_vec(), reason: "why".to_owned(), at: 5.5 };
                assert_eq!(entry, expected);
            }
        }
    }

    #[test]
    fn an_entry_of_somebody_else_is_shown_as_it_is() {
        let entry = read(b"x", b"hello".to_vec());
        assert_eq!((entry.member, entry.bytes), (b"x".to_vec(), b"hello".to_vec()));
    }
}
