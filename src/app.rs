//! Assembles Sandglass from its settings, runs it, and shuts it down.

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use tokio::{runtime::Handle, task::JoinHandle};
use tracing::{info, warn};

use crate::{
    actor::{Arbiters, Shared},
    clock::{self, Clock},
    config::{DockerSettings, Firewall, Login, Reach, Settings, StoreKind},
    domain::{egress::Network, retry::Backoff},
    feed::Feed,
    host::{Charge, EngineLock, Holder, Process},
    http,
    journal::Journal,
    keeper::Restoration,
    metrics::Metrics,
    open_files::{self, Demand, Share},
    ports::{
        runtime::{Runtime, RuntimeError},
        store::{Store, StoreError},
    },
    runtime::docker,
    store::{EmbeddedStore, RedisStore, embedded, redis},
    supervisor::{Supervisor, SupervisorParts},
    tasks::Tasks,
    work::Work,
};

/// How long the last writes may take at a stop, after the requests' own grace.
const FLUSH_GRACE: Duration = Duration::from_secs(5);

/// Why Sandglass does not start or cannot go on. The operator can act on all but the last.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address is in use, or not one of this host.
    #[error("failed to listen on {address}: {error}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
    /// The HTTP server did not start or broke down.
    #[error("failed to serve HTTP: {0}")]
    Serve(#[from] io::Error),
    /// The store cannot be used.
    #[error("failed to open the store: {0}")]
    Store(StoreError),
    /// Another supervisor holds the prefix.
    #[error("another supervisor is in charge of prefix {prefix:?}: {holder}; stop it, or choose another store.prefix")]
    Held {
        /// The configured prefix.
        prefix: String,
        /// A description of that supervisor.
        holder: String,
    },
    /// The engine's address cannot be used.
    #[error("failed to set up the container engine: {0}")]
    Runtime(RuntimeError),
    /// A bug: an essential task has died. The next start continues from the records.
    #[error("a bug in Sandglass: {0}; start it again, and please report this")]
    Bug(String),
}

/// The adapters that a supervisor runs on.
pub struct Adapters {
    /// Persistence.
    pub store: Arc<dyn Store>,
    /// The container engine.
    pub runtime: Arc<dyn Runtime>,
}

impl Adapters {
    /// Makes the adapters that the settings ask for. Neither needs to answer yet. Both are told the port, so call
    /// [`App::listen`] first.
    ///
    /// # Errors
    /// [`AppError`] when an address or a file cannot be used.
    pub fn from_settings(settings: &Settings) -> Result<Self, AppError> {
        let store = &settings.store;
        let instance = format!("{}:{}", hostname(), settings.http.bind.port());
        let (store, place): (Arc<dyn Store>, String) = match store.kind() {
            StoreKind::Embedded { path } => {
                let settings =
                    embedded::Settings { path, instance: instance.clone(), now: Arc::new(clock::wall_seconds) };
                let store = EmbeddedStore::open(settings).map_err(AppError::Store)?;
                let place = store.place();
                (Arc::new(store), place)
            }
            StoreKind::Redis { url, tls } => {
                let settings = redis::Settings {
                    url: url.expose().to_owned(),
                    tls: redis::TlsFiles {
                        ca: tls.ca.as_deref().map(in_home),
                        client: tls.client.as_ref().map(|(cert, key)| (in_home(cert), in_home(key))),
                    },
                    prefix: store.prefix.clone(),
                    lease_ttl: store.lease_ttl,
                    call_timeout: Duration::from_secs(5),
                    instance: instance.clone(),
                };
                let store = RedisStore::connect(settings).map_err(AppError::Store)?;
                let place = store.place();
                (Arc::new(store), place)
            }
        };
        let runtime = connect(settings, instance, place)?;
        let runtime = Arc::new(runtime);
        Ok(Self { store, runtime })
    }
}

/// Makes a client of the engine for a supervisor that is `instance` and has its records at `place`. Nothing is connected or
/// touched yet.
///
/// # Errors
/// [`AppError::Runtime`] when the engine's address or its certificates cannot be used.
fn connect(settings: &Settings, instance: String, place: String) -> Result<docker::Docker, AppError> {
    let docker = &settings.docker;
    let runtime = docker::Settings {
        host: Some(docker.host.clone()),
        tls: docker.tls,
        cert_path: in_home(&docker.cert_path),
        ports: docker::Ports {
            reach: match docker.reach {
                Reach::Published => docker::Reach::Published(docker.publish_address),
                Reach::Network => docker::Reach::Network,
            },
        },
        subnets: docker.isolated_subnets,
        firewall: match docker.firewall {
            Firewall::Auto => docker::Firewall::Auto,
            Firewall::Local => docker::Firewall::Local,
            Firewall::Helper => docker::Firewall::Helper,
            Firewall::Off => docker::Firewall::Off,
        },
        isolated: settings.templates.values().any(|template| template.start.network == Network::Isolated),
        registries: registries(docker),
        prefix: settings.store.prefix.clone(),
        concurrency: docker.concurrency,
        stop_grace: docker.stop_grace,
        call_timeout: docker.call_timeout,
        pull_timeout: docker.pull_timeout,
    };
    let holder = Holder { instance, process: Process::this(), since: clock::wall_seconds() };
    let lock = EngineLock::new(&settings.store.prefix, Charge { holder, store: place });
    docker::Docker::connect_with(runtime, Some(Arc::new(lock))).map_err(AppError::Runtime)
}

/// A client of the engine that takes no charge of it, for what is done beside a supervisor.
///
/// # Errors
/// [`AppError::Runtime`] when the engine's address or its certificates cannot be used.
pub fn engine(settings: &Settings) -> Result<docker::Docker, AppError> {
    connect(settings, hostname(), "no store".to_owned())
}

fn registries(settings: &DockerSettings) -> docker::Registries {
    let login = |(name, login): (String, Login)| {
        let password = login.password.expose().to_owned();
        (name, docker::Login { username: login.username, password })
    };
    docker::Registries {
        logins: settings.logins().into_iter().map(login).collect(),
        client_config: settings.client_config.as_deref().map(in_home),
    }
}

/// Replaces a leading `~` by the home directory.
fn in_home(path: &str) -> PathBuf {
    match path.strip_prefix('~') {
        Some(rest) => env::home_dir().unwrap_or_else(|| "/".into()).join(rest.trim_start_matches('/')),
        None => path.into(),
    }
}

fn hostname() -> String {
    hostname::get().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// What to do if another supervisor is in charge.
enum WhenHeld {
    End,
    Wait,
}

/// A running Sandglass.
pub struct App {
    supervisor: Arc<Supervisor>,
    server: ServerHandle,
    serving: JoinHandle<io::Result<()>>,
    address: SocketAddr,
    restoration: Restoration,
    stop_grace: Duration,
}

impl App {
    /// Listens on `http.bind`, and writes the port there if it was 0.
    ///
    /// # Errors
    /// [`AppError::Listen`] when the address cannot be used.
    pub fn listen(settings: &mut Settings) -> Result<TcpListener, AppError> {
        let address = settings.http.bind;
        let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| AppError::Listen { address, error })?;
        settings.http.bind = address;
        Ok(listener)
    }

    /// Starts Sandglass, and returns when it holds the lease and has restored all sandboxes. Meanwhile `/healthz` and
    /// `/readyz` answer on `listener` already. Waits for a store that is down.
    ///
    /// # Errors
    /// [`AppError::Held`] when another supervisor holds the lease; otherwise what keeps it from starting.
    pub async fn new(settings: Settings, adapters: Adapters, listener: TcpListener) -> Result<Self, AppError> {
        Self::start(settings, adapters, listener, WhenHeld::End).await
    }

    /// Like [`App::new`], but waits until no other supervisor is in charge. Meanwhile `/readyz` names that supervisor.
    ///
    /// # Errors
    /// [`AppError`] when Sandglass cannot start.
    pub async fn standby(settings: Settings, adapters: Adapters, listener: TcpListener) -> Result<Self, AppError> {
        Self::start(settings, adapters, listener, WhenHeld::Wait).await
    }

    async fn start(
        mut settings: Settings,
        adapters: Adapters,
        listener: TcpListener,
        when_held: WhenHeld,
    ) -> Result<Self, AppError> {
        let address = listener.local_addr()?;
        let cores = available_parallelism().map_or(1, usize::from);
        let connections = share_open_files(&mut settings, cores)?;
        let (prefix, stop_grace) = (settings.store.prefix.clone(), settings.http.stop_grace);
        let supervisor = assemble(settings, adapters, Arbiters::start(cores.div_ceil(2)));
        let work = Work::new(supervisor.sandboxes());
        let server = http::server(supervisor.sandboxes(), work.clone(), listener, cores, connections)?;
        let handle = server.handle();
        let serving = tokio::spawn(server);
        let begun = match when_held {
            WhenHeld::End => supervisor.begin().await,
            WhenHeld::Wait => {
                let tell = |holder: &str| {
                    info!("standing by on http://{address}; in charge of prefix {prefix:?} is {holder}");
                };
                supervisor.begin_when_free(tell).await
            }
        };
        let restoration = match begun {
            Ok(restoration) => restoration,
            Err(error) => {
                handle.stop(false).await;
                supervisor.abandon();
                return Err(match error {
                    StoreError::Held { holder } => AppError::Held { prefix, holder },
                    error @ StoreError::Unavailable(_) => AppError::Store(error),
                });
            }
        };
        tokio::spawn(async move { work.resume_all().await });
        let Restoration { sandboxes, completed, tombstones, quarantined, orphans } = restoration;
        info!(sandboxes, completed, tombstones, quarantined, orphans, "ready on http://{address}");
        Ok(Self { supervisor, server: handle, serving, address, restoration, stop_grace })
    }

    /// Returns the address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what the start has restored.
    pub fn restoration(&self) -> Restoration {
        self.restoration
    }

    /// Returns the supervisor.
    pub fn supervisor(&self) -> &Arc<Supervisor> {
        &self.supervisor
    }

    /// Runs until `stop` resolves. Every other end is an error.
    ///
    /// # Errors
    /// [`AppError::Held`] when the lease is lost: from that moment on, nothing is written or terminated.
    /// [`AppError::Bug`] when a task has died that cannot be restarted.
    pub async fn run_until(&mut self, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        let lost = self.supervisor.shared().journal.lost().clone();
        let tasks = self.supervisor.shared().tasks.clone();
        tokio::select! {
            () = tasks.given_up() => Err(AppError::Bug(tasks.beyond_repair().unwrap_or_default().to_owned())),
            () = stop => Ok(()),
            () = lost.cancelled() => {
                let prefix = self.supervisor.settings().store.prefix.clone();
                let holder = match self.supervisor.health().store() {
                    crate::journal::StoreHealth::Lost { holder } => holder,
                    _ => "unknown".to_owned(),
                };
                Err(AppError::Held { prefix, holder })
            }
            served = &mut self.serving => match served {
                Ok(outcome) => Ok(outcome?),
                Err(error) => Err(io::Error::other(error).into()),
            },
        }
    }

    /// Answers the requests in flight, writes all records and releases the lease. No sandbox ends by this. Returns how many
    /// writes the store did not accept.
    pub async fn shutdown(self) -> usize {
        self.supervisor.announce_stop();
        let mut draining = tokio::spawn(self.server.stop(true));
        // The server checks only once a second whether its connections are closed. A standby need not wait for that, since
        // nothing new is acknowledged once every request is answered.
        self.supervisor.in_flight().close();
        let answered = async {
            tokio::select! {
                () = self.supervisor.in_flight().wait() => {}
                _ = &mut draining => {}
            }
        };
        let within = self.stop_grace + Duration::from_secs(1);
        let overdue = tokio::time::timeout(within, answered).await.is_err();
        let missing = self.supervisor.shutdown(FLUSH_GRACE).await;
        let dropped = !draining.is_finished() && tokio::time::timeout(within, draining).await.is_err();
        if overdue || dropped {
            warn!("requests in flight took too long and were dropped");
        }
        if missing > 0 {
            warn!(missing, "the store did not take the last writes; their sandboxes come back as they were before");
        }
        missing
    }
}

/// Raises the limit of open files, and lowers `http.max_streams` to what it allows. Returns the maximum of connections.
fn share_open_files(settings: &mut Settings, workers: usize) -> io::Result<usize> {
    let limit = open_files::raise_limit()?;
    let (docker, wanted) = (&settings.docker, settings.http.max_streams);
    let demand =
        Demand { calls: docker.concurrency, creates: settings.sandboxes.max_creates, streams: wanted, workers };
    let Share { connections, streams } = Share::of(limit, demand);
    if streams < wanted {
        warn!(
            limit,
            connections,
            streams,
            "the limit of open files allows only {streams} status streams, not the {wanted} of http.max_streams; raise the \
             hard limit (LimitNOFILE= of systemd, --ulimit nofile= of Docker, ulimit -Hn of a shell)"
        );
        settings.http.max_streams = streams;
    }
    Ok(connections)
}

/// Makes a supervisor over `adapters`, without any sandbox yet, on the current tokio runtime.
pub fn assemble(settings: Settings, adapters: Adapters, arbiters: Arbiters) -> Arc<Supervisor> {
    assemble_on(Clock::system(), settings, adapters, arbiters)
}

/// Like [`assemble`], on another clock than the system's.
pub fn assemble_on(clock: Clock, settings: Settings, adapters: Adapters, arbiters: Arbiters) -> Arc<Supervisor> {
    let (metrics, io) = (Arc::new(Metrics::new()), Handle::current());
    let flush_interval = settings.store.flush_interval;
    let tasks = Tasks::new(io.clone(), clock.clone(), metrics.clone());
    let journal = Journal::start(adapters.store.clone(), flush_interval, clock.clone(), metrics.clone(), &tasks);
    let feed = Feed::start(settings.http.stream_history, settings.http.max_streams, &tasks);
    let shared = Shared {
        clock,
        journal,
        feed,
        runtime: adapters.runtime,
        runtime_away: Default::default(),
        metrics,
        registry: Default::default(),
        io,
        tasks,
        retention: settings.lifecycle.retention,
        warn_before: settings.lifecycle.warn_before,
        backoff: Backoff::STANDARD,
    };
    Supervisor::new(SupervisorParts {
        shared: Arc::new(shared),
        arbiters,
        store: adapters.store,
        settings: Arc::new(settings),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[tokio::test]
    async fn a_process_that_finds_the_store_in_use_learns_the_port_that_answers() {
        let directory = tempfile::tempdir().unwrap();
        let mut flags = Overrides::default();
        let path = directory.path().join("store.redb").display().to_string();
        for (key, value) in [("http.bind", "127.0.0.1:0"), ("store.kind", "embedded"), ("store.path", &path)] {
            flags.set(key, value, "a test");
        }
        let mut settings = Settings::load(None, Vec::new(), flags).unwrap();
        let listener = App::listen(&mut settings).unwrap();
        let port = listener.local_addr().unwrap().port();
        let [first, second] = [(); 2].map(|()| Adapters::from_settings(&settings).unwrap().store);
        first.acquire().await.unwrap();
        let refusal = second.acquire().await.unwrap_err().to_string();
        assert!(refusal.contains(&format!(":{port}\"")), "{refusal}");
    }
}
