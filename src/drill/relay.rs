//! A relay between an instance and Docker or Redis that fails on command, without harm to the server behind it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// How a relay fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Everything passes.
    #[default]
    None,
    /// Connections are cut and new ones closed at once, as if the server were down.
    Down,
    /// Every answer is delayed by this much.
    Slow(Duration),
    /// Requests are neither passed on nor answered; their connections are cut when the fault changes.
    Hang,
    /// HTTP only: requests whose line contains all `parts` are answered with `status` and not passed on.
    Refuse {
        /// Such as `["POST ", "/stop"]`.
        parts: Vec<&'static str>,
        /// Such as 500.
        status: u16,
        /// The answer's `message`.
        message: &'static str,
    },
    /// HTTP only: requests whose line contains all `parts` hang as with [`Fault::Hang`]; others pass.
    HangOn {
        /// Such as `["DELETE "]`.
        parts: Vec<&'static str>,
    },
    /// HTTP only: requests whose line contains all `parts` are passed on only when the fault changes.
    Hold {
        /// Such as `["/containers/", "/json"]`.
        parts: Vec<&'static str>,
    },
    /// HTTP only: requests whose line contains all `parts` are passed on, but their connections break before the answer.
    LoseAnswer {
        /// Such as `["DELETE "]`.
        parts: Vec<&'static str>,
    },
}

#[derive(Clone, Debug)]
enum Upstream {
    Unix(String),
    Tcp(String),
}

/// A relay. Dropping it closes its port and cuts its connections.
pub struct Relay {
    address: String,
    fault: watch::Sender<Fault>,
    traffic: Arc<Mutex<Traffic>>,
    listener: JoinHandle<()>,
}

/// The HTTP requests that came.
#[derive(Default)]
struct Traffic {
    lines: Vec<String>,
    /// How many are not answered yet.
    open: usize,
    /// The maximum of `open`.
    most: usize,
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

impl Relay {
    /// A relay to the engine at `host` (as `docker.host`), on a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn to_docker(host: &str) -> anyhow::Result<Self> {
        Self::to_docker_at("127.0.0.1:0", host).await
    }

    /// Like [`Relay::to_docker`], listening at `address`.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn to_docker_at(address: &str, host: &str) -> anyhow::Result<Self> {
        let upstream = match host.split_once("://") {
            Some(("unix", path)) => Upstream::Unix(path.to_owned()),
            Some(("tcp" | "http", address)) => Upstream::Tcp(address.trim_end_matches('/').to_owned()),
            _ => Upstream::Unix(host.to_owned()),
        };
        Self::to(address, upstream, true).await
    }

    /// A relay to the Redis at `url`, on a free port.
    ///
    /// # Errors
    /// When no port is free, or the URL is not understood.
    pub async fn to_redis(url: &str) -> anyhow::Result<Self> {
        let info =
            ::redis::IntoConnectionInfo::into_connection_info(url).context("failed to understand the Redis URL")?;
        let upstream = match info.addr() {
            ::redis::ConnectionAddr::Tcp(host, port) => Upstream::Tcp(format!("{host}:{port}")),
            ::redis::ConnectionAddr::Unix(path) => Upstream::Unix(path.display().to_string()),
            other => anyhow::bail!("there is no relay to {other}"),
        };
        Self::to("127.0.0.1:0", upstream, false).await
    }

    async fn to(address: &str, upstream: Upstream, http: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.context("failed to get a port for the relay")?;
        let address = listener.local_addr()?.to_string();
        let fault = watch::Sender::new(Fault::None);
        let faults = fault.clone();
        let (upstream, traffic) = (Arc::new(upstream), Arc::<Mutex<Traffic>>::default());
        let coming = traffic.clone();
        let listener = tokio::spawn(async move {
            // The set aborts its tasks when the listener's task ends.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (upstream, faults, coming) = (upstream.clone(), faults.subscribe(), coming.clone());
                connections.spawn(async move {
                    // Broken connections are expected here.
                    let _ = serve(client, &upstream, faults, http, &coming).await;
                });
            }
        });
        Ok(Self { address, fault, traffic, listener })
    }

    /// Fails like this from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// The request lines to an engine so far, such as `GET /_ping HTTP/1.1`.
    pub fn seen(&self) -> Vec<String> {
        locked(&self.traffic).lines.clone()
    }

    /// How many request lines contain `text`.
    pub fn count(&self, text: &str) -> usize {
        locked(&self.traffic).lines.iter().filter(|line| line.contains(text)).count()
    }

    /// The maximum of requests to an engine in flight at once.
    pub fn most_at_once(&self) -> usize {
        locked(&self.traffic).most
    }

    /// The relay's address, as `docker.host`.
    pub fn docker_host(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// `url` with the relay's host and port.
    ///
    /// # Errors
    /// When `url` has no host and port.
    pub fn redis_url(&self, url: &str) -> anyhow::Result<String> {
        let mut url: reqwest::Url = url.parse().context("failed to understand the Redis URL")?;
        let (host, port) = self.address.split_once(':').context("an address")?;
        url.set_host(Some(host)).context("a Redis URL with a host is needed")?;
        if url.set_port(Some(port.parse()?)).is_err() {
            anyhow::bail!("a Redis URL with a host and a port is needed");
        }
        Ok(url.into())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: &Upstream,
    mut faults: watch::Receiver<Fault>,
    http: bool,
    traffic: &Mutex<Traffic>,
) -> anyhow::Result<()> {
    // The client of Docker opens a connection for each request, so a connection has one request line.
    let head = if http { head(&mut client).await? } else { Vec::new() };
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let mut open = http.then(|| Open::new(traffic, line.clone()));
    let fault = faults.borrow_and_update().clone();
    let concerns = |parts: &[&str]| parts.iter().all(|part| line.contains(part));
    match &fault {
        Fault::Down => return Ok(()),
        Fault::Hang => return Ok(faults.changed().await?),
        Fault::HangOn { parts } if concerns(parts) => return Ok(faults.changed().await?),
        Fault::Hold { parts } if concerns(parts) => faults.changed().await?,
        Fault::Refuse { parts, status, message } if concerns(parts) => {
            let body = serde_json::json!({ "message": message }).to_string();
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            client.write_all(answer.as_bytes()).await?;
            return Ok(client.shutdown().await?);
        }
        _ => {}
    }
    let mut server: Box<dyn Both> = match upstream {
        Upstream::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Upstream::Tcp(address) => Box::new(TcpStream::connect(address).await?),
    };
    server.write_all(&head).await?;
    let loses = matches!(&fault, Fault::LoseAnswer { parts } if concerns(parts));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let mut watched = faults.clone();
    let answer = async {
        let mut first = [0; 16_384];
        let count = from_server.read(&mut first).await?;
        // Count the request as answered before the client can see it and send the next one.
        drop(open.take());
        if loses {
            return Ok(());
        }
        pass(&mut (&first[..count]).chain(from_server), &mut to_client, &mut watched, true).await
    };
    tokio::select! {
        done = pass(&mut from_client, &mut to_server, &mut faults, false) => done,
        done = answer => done,
    }
}

/// Passes bytes on until the end or a fault.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    faults: &mut watch::Receiver<Fault>,
    answers: bool,
) -> anyhow::Result<()> {
    let mut buffer = [0; 16_384];
    loop {
        let count = tokio::select! {
            count = from.read(&mut buffer) => count?,
            changed = faults.changed() => {
                changed?;
                if *faults.borrow_and_update() == Fault::Down {
                    return Ok(());
                }
                continue;
            }
        };
        if count == 0 {
            return Ok(());
        }
        let fault = faults.borrow_and_update().clone();
        match fault {
            Fault::Down => return Ok(()),
            Fault::Hang => return Ok(faults.changed().await?),
            Fault::Slow(by) if answers => sleep(by).await,
            _ => {}
        }
        to.write_all(&buffer[..count]).await?;
    }
}

/// Reads a request to the end of its headers, perhaps with a part of its body.
async fn head(client: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 {
            anyhow::bail!("the client hung up");
        }
    }
    Ok(head)
}

/// A request in flight.
struct Open<'a>(&'a Mutex<Traffic>);

impl<'a> Open<'a> {
    fn new(traffic: &'a Mutex<Traffic>, line: String) -> Self {
        let mut seen = locked(traffic);
        seen.lines.push(line);
        seen.open += 1;
        seen.most = seen.most.max(seen.open);
        drop(seen);
        Self(traffic)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        locked(self.0).open -= 1;
    }
}

fn locked(traffic: &Mutex<Traffic>) -> MutexGuard<'_, Traffic> {
    traffic.lock().unwrap_or_else(PoisonError::into_inner)
}
