//! The specification: what is derived from the handlers and types, what all calls have in common, and what only this instance
//! allows. Generators and fuzzers read it, so it has to be exact.
//!
//! - `document`: puts it together;
//! - `calls`: what calls have in common: ids, parameters, errors, keys;
//! - `requests`: the bounds of requests by the rules and this configuration;
//! - `words`: the schemas of the domain's words.

mod calls;
mod document;
mod requests;
mod words;

pub(super) use document::{Document, specification};
