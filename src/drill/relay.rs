//! A relay between an instance and Docker or Redis, that can be told to break. Whatever it does, the other side is whole.

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

/// What the relay does to what goes through it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Connections are cut, and new ones closed at once: the other side is down.
    Down,
    /// Every answer comes this much later.
    Slow(Duration),
    /// Requests are taken, and neither passed on nor answered until the fault changes; then their connections are cut.
    Hang,
    /// HTTP only: requests whose line has every one of these parts are answered with this status and never passed on.
    Refuse {
        /// Such as `["POST ", "/stop"]`.
        parts: Vec<&'static str>,
        /// Such as 500.
        status: u16,
        /// What the answer says as its message.
        message: &'static str,
    },
    /// HTTP only: requests whose line has every one of these parts hang as with [`Fault::Hang`]; others pass.
    HangOn {
        /// Such as `["DELETE "]`.
        parts: Vec<&'static str>,
    },
    /// HTTP only: requests whose line has every one of these parts are passed on only when the fault changes.
    Hold {
        /// Such as `["/containers/", "/json"]`.
        parts: Vec<&'static str>,
    },
    /// HTTP only: requests whose line has every one of these parts are passed on, and their connections break in place of
    /// the answers.
    LoseAnswer {
        /// Such as `["DELETE "]`.
        parts: Vec<&'static str>,
    },
}

/// Where the relay leads.
#[derive(Clone, Debug)]
enum Upstream {
    Unix(String),
    Tcp(String),
}

/// A relay. Dropping it closes its port and cuts what is on its way.
pub struct Relay {
    address: String,
    fault: watch::Sender<Fault>,
    traffic: Arc<Mutex<Traffic>>,
    listener: JoinHandle<()>,
}

/// The requests that have come, over HTTP.
#[derive(Default)]
struct Traffic {
    lines: Vec<String>,
    /// Those that are not answered yet, and the most of them at the same moment.
    open: usize,
    most: usize,
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

impl Relay {
    /// A relay to an engine at `host`, as `docker.host` has it.
    ///
    /// # Errors
    /// When there is no port for it, or the address is not understood.
    pub async fn to_docker(host: &str) -> anyhow::Result<Self> {
        Self::to_docker_at("127.0.0.1:0", host).await
    }

    /// [`Relay::to_docker`] that listens at this address.
    ///
    /// # Errors
    /// When the address is taken, or the engine's is not understood.
    pub async fn to_docker_at(address: &str, host: &str) -> anyhow::Result<Self> {
        let upstream = match host.split_once("://") {
            Some(("unix", path)) => Upstream::Unix(path.to_owned()),
            Some(("tcp" | "http", address)) => Upstream::Tcp(address.trim_end_matches('/').to_owned()),
            _ => Upstream::Unix(host.to_owned()),
        };
        Self::to(address, upstream, true).await
    }

    /// A relay to a Redis at `url`.
    ///
    /// # Errors
    /// When there is no port for it, or the URL is not understood.
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
            // The connections go down with the listener: the set aborts its tasks when it is dropped.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (upstream, faults, coming) = (upstream.clone(), faults.subscribe(), coming.clone());
                connections.spawn(async move {
                    // A connection that breaks is what a relay is for.
                    let _ = serve(client, &upstream, faults, http, &coming).await;
                });
            }
        });
        Ok(Self { address, fault, traffic, listener })
    }

    /// Breaks it in this way from now on, or heals it.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// The lines of all requests to an engine so far, such as `GET /_ping HTTP/1.1`.
    pub fn seen(&self) -> Vec<String> {
        locked(&self.traffic).lines.clone()
    }

    /// How many of these lines contain `text`.
    pub fn count(&self, text: &str) -> usize {
        locked(&self.traffic).lines.iter().filter(|line| line.contains(text)).count()
    }

    /// The most requests to an engine that were on their way at the same moment.
    pub fn most_at_once(&self) -> usize {
        locked(&self.traffic).most
    }

    /// The engine's address by way of this relay.
    pub fn docker_host(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// `url` with this relay in place of its own host and port; user, password and database stay.
    ///
    /// # Errors
    /// When it is not a URL of a host and a port.
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
    // An HTTP client opens a connection for each request, so that a connection's first line is its only one.
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
        // Counted as answered before the client can know it and send its next request.
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

/// Passes bytes on, as long as there are any and nothing cuts them off.
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
            Fault::Hang => {
                faults.changed().await?;
                return Ok(());
            }
            Fault::Slow(by) if answers => sleep(by).await,
            _ => {}
        }
        to.write_all(&buffer[..count]).await?;
    }
}

/// The beginning of a request, up to the end of its headers and perhaps beyond.
async fn head(client: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 {
            anyhow::bail!("the client hung up");
        }
    }
    Ok(head)
}

/// A request that is on its way.
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
