//! A relay in front of the Docker socket that sees every request, and can hold it back or lose its answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// What to do with the requests that a rule speaks of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It reaches the engine only after [`Relay::release`].
    Held,
    /// It reaches the engine, and the connection breaks in place of the answer.
    AnswerLost,
}

/// The relay. Dropping it closes its port and cuts what is on its way.
pub struct Relay {
    address: String,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

struct Shared {
    seen: Mutex<Vec<String>>,
    /// Requests that have arrived and are not answered yet: all, and the most at once.
    open: Mutex<(usize, usize)>,
    rule: Option<(&'static str, Fate)>,
    released: watch::Sender<bool>,
}

impl Relay {
    /// A relay that passes everything on, but for the requests whose line contains every part of the rule's text; a
    /// `*` stands between two parts.
    pub async fn new(rule: Option<(&'static str, Fate)>) -> Self {
        Self::at("127.0.0.1:0", rule).await
    }

    /// The same on an address that is known before.
    pub async fn at(address: &str, rule: Option<(&'static str, Fate)>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port for the relay");
        let address = listener.local_addr().expect("its address").to_string();
        let (seen, open, released) = (Mutex::default(), Mutex::default(), watch::Sender::new(false));
        let shared = Arc::new(Shared { seen, open, rule, released });
        let accepting = Arc::clone(&shared);
        let listener = tokio::spawn(async move {
            // The connections go down with the listener: the set aborts its tasks when it is dropped.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(relay(client, Arc::clone(&accepting)));
            }
        });
        Self { address, shared, listener }
    }

    /// The engine's address, by way of this relay.
    pub fn host(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Lets go of all requests that are held back, and holds none back any more.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// The lines of all requests so far, such as `GET /_ping HTTP/1.1`.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many of them contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.seen().iter().filter(|line| line.contains(text)).count()
    }

    /// The most requests that were on their way at the same moment.
    pub fn most_at_once(&self) -> usize {
        self.shared.open.lock().unwrap().1
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// One request and its answer: the clients of these tests open a connection for each.
async fn relay(mut client: TcpStream, shared: Arc<Shared>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match client.read_buf(&mut head).await {
            Ok(1..) => {}
            _ => return,
        }
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let fate = shared.rule.filter(|(text, _)| text.split('*').all(|part| line.contains(part))).map(|(_, fate)| fate);
    shared.seen.lock().unwrap().push(line);
    let open = Open::new(&shared);
    if fate == Some(Fate::Held) {
        let _ = shared.released.subscribe().wait_for(|released| *released).await;
    }
    let mut engine = UnixStream::connect(socket()).await.expect("the Docker socket");
    engine.write_all(&head).await.expect("the engine listens");
    if fate == Some(Fate::AnswerLost) {
        // The body may be on its way yet.
        let mut rest = [0; 65_536];
        while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_millis(50), client.read(&mut rest)).await {
            engine.write_all(&rest[..count]).await.expect("the engine listens");
        }
        let _ = engine.read(&mut rest).await;
        return;
    }
    let (mut from_client, mut to_client) = client.split();
    let (mut from_engine, mut to_engine) = engine.split();
    let answer = async {
        let mut first = [0; 16_384];
        let count = from_engine.read(&mut first).await.unwrap_or(0);
        // Answered, and counted so before the client can know it and send its next request.
        drop(open);
        to_client.write_all(&first[..count]).await?;
        copy(&mut from_engine, &mut to_client).await
    };
    // Whoever hangs up first ends it: the client when it has its answer, or the engine.
    tokio::select! {
        _ = answer => {}
        _ = copy(&mut from_client, &mut to_engine) => {}
    }
}

/// Where the engine listens.
pub fn socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut open = shared.open.lock().unwrap();
        open.0 += 1;
        open.1 = open.1.max(open.0);
        drop(open);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.lock().unwrap().0 -= 1;
    }
}
