//! Reads requests from a connection and finds who answers them.

use std::{collections::BTreeMap, convert::Infallible};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{
    Method,
    header::{AUTHORIZATION, HOST, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    VERSION,
    agent::Agent,
    body::{self, Request, Response},
    connect::{Code, Error},
    interpreter, process, tunnel,
};

/// The streams that one connection may have open. More of them wait at the client, which has a smaller bound of its own.
const STREAMS_BOUND: u32 = 4096;

/// The bytes of one stream that may be under way to the agent before it has read them.
const STREAM_WINDOW: u32 = 1 << 20;

/// The same of all streams of a connection: what HTTP/2 allows, since streams that stand still must not hold up the others.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// The bytes of one stream that wait for a client that reads slowly.
const SEND_BUFFER: usize = 128 << 10;

/// Where the calls about files are.
const FILESYSTEM: &str = "/filesystem.Filesystem/";

/// Serves one connection until it ends: HTTP/2 with prior knowledge, or HTTP/1.1.
///
/// # Errors
///
/// If the connection breaks off or does not speak HTTP. What runs in the agent goes on.
pub async fn serve<S>(stream: S, agent: &Agent) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .max_concurrent_streams(STREAMS_BOUND)
        // The client is Sandglass: that many of its own clients may hang up at once.
        .max_pending_accept_reset_streams(STREAMS_BOUND as usize)
        .max_local_error_reset_streams(None)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_frame_size(1 << 16);
    let service = service_fn(|request| {
        let agent = agent.clone();
        async move { Ok::<_, Infallible>(answer(&agent, request).await) }
    });
    builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
}

async fn answer(agent: &Agent, mut request: Request) -> Response {
    name_user(agent, &mut request);
    if is_for_interpreter(&request) {
        return interpreter::call(agent, request).await;
    }
    let path = request.uri().path();
    if let Some(name) = path.strip_prefix("/process.Process/").filter(|_| request.method() == Method::POST) {
        let name = name.to_owned();
        return process::call(agent, &name, request).await;
    }
    match (request.method(), path) {
        (&Method::CONNECT, _) => tunnel::open(request).await,
        (&Method::GET, "/health") => health(),
        (&Method::GET, "/metrics") => body::json(200, &agent.meter.measure().await),
        (&Method::GET, "/envs") => environment(agent),
        // E2B's own agent is given its time and environment by this; this one has them from the container.
        (&Method::POST, "/init") => body::answer(204, body::empty()),
        (_, "/health") => body::error(405, "ask for /health with GET"),
        (&Method::POST, _) if path.starts_with(FILESYSTEM) => {
            let name = path[FILESYSTEM.len()..].to_owned();
            agent.files.call(&name, request).await.unwrap_or_else(|| unimplemented(&format!("{FILESYSTEM}{name}")))
        }
        _ if path == "/files" || path.starts_with("/files/") => agent.files.transfer(request).await,
        _ if path.starts_with("/process.") || path.starts_with("/filesystem.") => unimplemented(path),
        _ => body::error(404, &format!("there is nothing at {path}")),
    }
}

/// Whether the request names the interpreter as its authority, or, in HTTP/1.1, as its host.
fn is_for_interpreter(request: &Request) -> bool {
    let host = || request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(hyper::http::uri::Authority::as_str).or_else(host);
    authority == Some(interpreter::AUTHORITY) && request.method() != Method::CONNECT
}

fn unimplemented(path: &str) -> Response {
    let error = Error::new(Code::Unimplemented, format!("there is no call {path}"));
    body::json(error.code.status(), &error)
}

/// Names the user whom a request without one means.
fn name_user(agent: &Agent, request: &mut Request) {
    let user = &agent.setup().user;
    if user.is_empty() || crate::connect::basic_user(request.headers()).is_ok_and(|given| !given.is_empty()) {
        return;
    }
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:")));
    if let Ok(basic) = HeaderValue::from_str(&basic) {
        request.headers_mut().insert(AUTHORIZATION, basic);
    }
}

/// The environment that commands start from.
fn environment(agent: &Agent) -> Response {
    let all = agent.setup().environment.iter();
    let all = all.map(|(name, value)| (name.to_string_lossy(), value.to_string_lossy()));
    body::json(200, &all.collect::<BTreeMap<_, _>>())
}

fn health() -> Response {
    let mut response = body::answer(204, body::empty());
    response.headers_mut().insert("sandglass-agent", HeaderValue::from_static(VERSION));
    response
}
