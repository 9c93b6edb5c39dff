//! Answers as JSON.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use serde::Serialize;

/// A value as JSON; `capacity` is about how long it becomes.
pub(super) fn json_bytes(value: &impl Serialize, capacity: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(capacity);
    // Answers are structs of texts, numbers and raw JSON, and a vector takes every byte: this cannot fail.
    let _ = serde_json::to_writer(&mut buffer, value);
    buffer
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize, capacity: usize) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .body(json_bytes(value, capacity))
}
