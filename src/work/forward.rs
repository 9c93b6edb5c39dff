//! Passes requests on to what is inside a sandbox: its agent, or whatever listens on one of its ports.
//!
//! A request for the agent goes over the connection that all work shares. One for a port gets a connection of its own, which
//! the agent opens inside (`CONNECT`), and HTTP/1.1 is spoken over it. Bodies are streamed both ways, each side as fast as the
//! other reads, and who drops the answer resets the stream.

use std::io;

use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    client::conn::http1,
    header::{self, HeaderName, HeaderValue},
    http::response,
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Work,
    answer::Answer,
    body::{Body, Part, full, parts_of},
    error::WorkError,
    lines::Line,
    meter::Meter,
};
use crate::domain::{ActivitySource, SandboxId};

/// Who in a sandbox is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The agent.
    Agent,
    /// What listens on this port, or else the agent's code interpreter.
    InterpreterOr(u16),
    /// What listens on this port.
    Port(u16),
}

/// A request that is passed on.
#[derive(Debug)]
pub struct Forward {
    /// To whom.
    pub target: Target,
    /// Its method.
    pub method: Method,
    /// Its path with the query, as it was written.
    pub path: String,
    /// Its headers. Those that concern a single connection are left out, but for an upgrade.
    pub headers: HeaderMap,
    /// The parts of its body up to [`Part::End`]; `None`: it has none.
    pub body: Option<mpsc::Receiver<io::Result<Part>>>,
}

/// What the inside has answered.
pub enum Forwarded {
    /// An answer.
    Answer(Answer),
    /// The connection changes to another protocol.
    Upgraded(Switched),
}

/// A connection that changes to another protocol.
pub struct Switched {
    /// The headers of the answer.
    pub headers: HeaderMap,
    /// What was a connection for requests.
    pub stream: Box<dyn Duplex>,
    /// Counts what moves over it.
    pub moves: Moves,
}

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Counts as use what moves over a connection. The connection to the agent stays open while there is one.
#[derive(Clone)]
pub struct Moves {
    meter: Meter,
    _line: Line,
}

impl Moves {
    /// Bytes have moved.
    pub async fn moved(&mut self) {
        self.meter.moved().await;
    }
}

impl Forward {
    /// What counts as use of this kind.
    fn source(&self) -> ActivitySource {
        match self.target {
            Target::Port(_) => ActivitySource::Traffic,
            Target::Agent if self.path.starts_with("/files") || self.path.starts_with("/filesystem.") => {
                ActivitySource::File
            }
            Target::Agent | Target::InterpreterOr(_) => ActivitySource::Command,
        }
    }

    /// The protocol that the connection is to change to.
    fn upgrade(&self) -> Option<HeaderValue> {
        let asked = names(&self.headers, &header::CONNECTION).any(|name| name == "upgrade");
        self.headers.get(header::UPGRADE).filter(|_| asked).cloned()
    }
}

impl Work {
    /// Passes a request on, and waits for the head of its answer. Counts as use, also while bytes move; one that is paused is
    /// resumed first if it says `wake`.
    ///
    /// # Errors
    /// [`WorkError`]; an answer that is an error is none here.
    pub async fn forward(&self, sandbox: &SandboxId, asked: Forward) -> Result<Forwarded, WorkError> {
        let source = asked.source();
        let mut line = self.enter_for(sandbox, source).await?;
        let outcome = match asked.target {
            Target::Agent => self.to_agent(&mut line, "agent", asked, source).await,
            Target::Port(port) => match line.connect_to(port).await {
                Ok(stream) => self.to_port(line, port, stream, asked, source).await,
                Err(error) => Err(error),
            },
            Target::InterpreterOr(port) => match line.connect_to(port).await {
                Ok(stream) => self.to_port(line, port, stream, asked, source).await,
                Err(WorkError::PortClosed(_)) => self.to_agent(&mut line, "interpreter", asked, source).await,
                Err(error) => Err(error),
            },
        };
        match outcome {
            Err(error) => Err(self.explained(sandbox, error).await),
            passed => passed,
        }
    }

    async fn to_agent(
        &self,
        line: &mut Line,
        name: &str,
        asked: Forward,
        source: ActivitySource,
    ) -> Result<Forwarded, WorkError> {
        let path = format!("http://{name}{}", asked.path);
        let request = self.request(&path, asked, &line.sandbox, source)?;
        let (head, body) = line.send(request, None).await?.into_parts();
        let meter = self.meter(&line.sandbox, source);
        Ok(Forwarded::Answer(Answer::new(cleaned(head), body, line.clone(), meter)))
    }

    async fn to_port(
        &self,
        line: Line,
        port: u16,
        stream: Upgraded,
        asked: Forward,
        source: ActivitySource,
    ) -> Result<Forwarded, WorkError> {
        let failed = |error: hyper::Error| WorkError::PortFailed(line.sandbox.clone(), port, error.to_string());
        // Some programs know headers only in the spelling that most proxies give them.
        let mut builder = http1::Builder::new();
        let (mut sender, connection) =
            builder.title_case_headers(true).handshake::<_, Body>(stream).await.map_err(failed)?;
        let carrier = AbortOnDropHandle::new(self.spawn(async move {
            // An error is told to who waits for the answer or reads it.
            _ = connection.with_upgrades().await;
        }));
        let upgrade = asked.upgrade();
        let path = asked.path.clone();
        let mut request = self.request(&path, asked, &line.sandbox, source)?;
        if let Some(protocol) = upgrade {
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            request.headers_mut().insert(header::UPGRADE, protocol);
        }
        let mut answer = sender.send_request(request).await.map_err(failed)?;
        let meter = self.meter(&line.sandbox, source);
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = hyper::upgrade::on(&mut answer).await.map_err(failed)?;
            let stream = Box::new(TokioIo::new(upgraded));
            let headers = answer.into_parts().0.headers;
            return Ok(Forwarded::Upgraded(Switched { headers, stream, moves: Moves { meter, _line: line } }));
        }
        let (head, body) = answer.into_parts();
        Ok(Forwarded::Answer(Answer::new(cleaned(head), body, line, meter).over(carrier)))
    }

    fn request(
        &self,
        uri: &str,
        asked: Forward,
        sandbox: &SandboxId,
        source: ActivitySource,
    ) -> Result<Request<Body>, WorkError> {
        let uri: Uri = uri.parse().map_err(|_| {
            crate::sandboxes::RequestError::invalid("path", "a path with an optional query, as a request has it")
        })?;
        let body = match asked.body {
            Some(parts) => parts_of(parts, self.meter(sandbox, source)),
            None => full(bytes::Bytes::new()),
        };
        let mut request = Request::new(body);
        *request.method_mut() = asked.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = asked.headers;
        drop_hops(request.headers_mut());
        Ok(request)
    }
}

impl Line {
    /// Opens a connection to a port inside.
    async fn connect_to(&mut self, port: u16) -> Result<Upgraded, WorkError> {
        let mut request = Request::new(full(bytes::Bytes::new()));
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = format!("localhost:{port}").parse().unwrap_or_default();
        let answer = self.send(request, None).await?;
        match answer.status() {
            StatusCode::OK => hyper::upgrade::on(answer)
                .await
                .map_err(|error| WorkError::Broken(self.sandbox.clone(), error.to_string())),
            StatusCode::BAD_GATEWAY => Err(WorkError::PortClosed(port)),
            status => {
                let told = self.whole(answer.into_body()).await?;
                Err(super::connect::refusal(&told, status))
            }
        }
    }
}

fn cleaned(mut head: response::Parts) -> response::Parts {
    drop_hops(&mut head.headers);
    head
}

/// Headers that concern the connection to the next hop (RFC 9110, 7.6.1). `Expect` was answered by us.
const HOPS: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];
const OLD_HOPS: [&str; 2] = ["keep-alive", "proxy-connection"];

fn drop_hops(headers: &mut HeaderMap) {
    let named: Vec<_> = names(headers, &header::CONNECTION).collect();
    for name in named.iter().map(String::as_str).chain(OLD_HOPS) {
        headers.remove(name);
    }
    for name in HOPS {
        headers.remove(name);
    }
}

/// The words of a list in a header, in lower case.
fn names(headers: &HeaderMap, of: &HeaderName) -> impl Iterator<Item = String> {
    let lists = headers.get_all(of).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_ascii_lowercase())
}
