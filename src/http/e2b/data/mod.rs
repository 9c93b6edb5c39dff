//! The inside of sandboxes: every request for an agent or a port is passed on as it is, and so is its answer.
//!
//! - `serve`: finds the sandbox, and passes the request on;
//! - `allowed`: who may go where;
//! - `signature`: files whose URL is signed;
//! - `signers`: finds the sandbox that has signed one;
//! - `request`: what is passed on of a request;
//! - `answer`: what is passed on of an answer, and for how long;
//! - `websocket`: connections that change to another protocol;
//! - `refusal`: the shape of refusals.

mod allowed;
mod answer;
mod refusal;
mod request;
mod serve;
mod signature;
mod signers;
mod websocket;

pub(in crate::http) use serve::serve;
pub(in crate::http) use signers::Signers;
