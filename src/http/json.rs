//! Answers as JSON.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use serde::Serialize;

/// Serializes a value as JSON of about `capacity` bytes.
pub(super) fn json_bytes(value: &impl Serialize, capacity: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(capacity);
    // Answers consist of strings, numbers and raw JSON, so this cannot fail.
    let _ = serde_json::to_writer(&mut buffer, value);
    buffer
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize, capacity: usize) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .body(json_bytes(value, capacity))
}
