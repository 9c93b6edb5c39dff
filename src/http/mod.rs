//! The HTTP interface ([design: interface](crate::design::interface)): verifies what comes in, asks the
//! [`crate::supervisor`], and converts what comes out. Nothing is decided here but status codes.
//!
//! - [`mod@server`]: the server and its application;
//! - `connection`: the layer between sockets and the HTTP library;
//! - `routes`: the routes;
//! - `gate`: middleware: access, headers, a line of log;
//! - `auth`: the rules about keys and origins;
//! - `error`: the shape of all errors, and their status codes;
//! - `body`, `query`, `extract`, `upload`: the parts of requests;
//! - [`answers`], `json`: answers;
//! - `create`, `sandboxes`, `activity`, `holds`, `why`, `health`: the handlers;
//! - `work`: commands, files, logs and load;
//! - `page`: the dashboard and the specification's page;
//! - `stream`: the status stream;
//! - `e2b`: E2B's protocol, a second surface;
//! - `openapi`: the specification, from the handlers and types themselves.

mod activity;
pub mod answers;
mod auth;
mod body;
mod connection;
mod create;
mod e2b;
mod egress;
mod error;
mod extract;
mod gate;
mod health;
mod holds;
mod json;
mod openapi;
mod page;
mod query;
mod routes;
mod sandboxes;
mod server;
mod stream;
mod upload;
mod why;
mod work;

pub use error::{ApiError, Code};
pub use routes::ROUTES;
pub use server::{app, server};
