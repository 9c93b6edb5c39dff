//! The specification: what the handlers and types say of themselves, and what is so for every call, or for this instance
//! alone. Generators and fuzzers read it, so it has to be true to the letter.
//!
//! - `document`: all of it, put together;
//! - `calls`: what is the same wherever it stands: ids, parameters, refusals, keys;
//! - `requests`: what the rules and this configuration leave of what a request could ask for;
//! - `words`: what the domain's words are in it.

mod calls;
mod document;
mod requests;
mod words;

pub(super) use document::{Document, specification};
