//! The validated settings: what the rest of Sandglass works with. Every fallback is settled here, so nothing downstream
//! asks "and if it is not configured?".

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use crate::domain::{
    OnTimeout, Policy,
    spec::{Limits, StartSpec},
};

use super::{
    check, environment, error::ConfigError, layers::Layers, overrides::Overrides, rules, secret::Secret,
    web_origin::WebOrigin,
};

/// The name of the template that a request without one gets. It always exists.
pub const BASE_TEMPLATE: &str = "base";

/// Everything that can be configured, checked as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The HTTP interface.
    pub http: HttpSettings,
    /// Persistence.
    pub store: StoreSettings,
    /// The lifecycle of sandboxes.
    pub lifecycle: LifecycleSettings,
    /// The container engine, and what may run on it.
    pub docker: DockerSettings,
    /// The templates by name, among them [`BASE_TEMPLATE`].
    pub templates: BTreeMap<String, Template>,
    /// Logs.
    pub log: LogSettings,
}

impl Settings {
    /// Reads the configuration: the built-in defaults, over them `file`, over it the variables in `environment`, over
    /// all the flags in `overrides`.
    ///
    /// # Errors
    /// [`ConfigError`], which names everything that is wrong, where it came from, and what it has to be.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: Overrides,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::built_in()?;
        if let Some(file) = file {
            layers.file(file)?;
        }
        environment::lay(environment, &mut layers);
        overrides.lay(&mut layers);
        check::settle(layers)
    }

    /// Whether sandboxes may be made from `image`: templates name it, or a pattern of `docker.allowed_images` fits.
    pub fn allows_image(&self, image: &str) -> bool {
        self.templates.values().any(|template| template.start.image == image)
            || self.docker.allowed_images.iter().any(|pattern| rules::matches_pattern(pattern, image))
    }
}

/// The HTTP interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it listens; port 0 takes a free one.
    pub bind: SocketAddr,
    /// What clients have to present; `None`: nothing, on loopback only.
    pub api_key: Option<Secret>,
    /// Under which names the page may be reached beside the address itself: those of proxies.
    pub allowed_origins: Vec<WebOrigin>,
    /// The largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// Status streams open at the same time, over websocket and server-sent events together.
    pub max_streams: usize,
    /// How many events the status stream keeps for those who come back.
    pub stream_history: usize,
    /// How long requests in flight may take to end when Sandglass stops.
    pub stop_grace: Duration,
}

/// Persistence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Where records are kept.
    pub kind: StoreKind,
    /// The beginning of all keys and the value of the label `sandglass.prefix`: what is supervised by one process.
    pub prefix: String,
    /// How often activity is written; at most this much of it is lost by an unclean stop.
    pub flush_interval: Duration,
    /// How long a supervisor that is silent keeps its lease.
    pub lease_ttl: Duration,
}

/// Where records are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In a file of our own.
    Embedded {
        /// The file.
        path: PathBuf,
    },
    /// In Redis.
    Redis {
        /// Its URL, which may hold a password.
        url: Secret,
        /// The certificates for `rediss://`.
        tls: RedisTls,
    },
}

/// The certificates of a connection to Redis: paths of PEM files, which may begin with `~`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// The authorities that the server is checked against; `None`: the system's.
    pub ca: Option<String>,
    /// The certificate that is shown to the server, and its key.
    pub client: Option<(String, String)>,
}

/// The lifecycle of sandboxes (design, 3). The first four are what a template falls back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleSettings {
    /// How long a sandbox may go unused; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// How long it stays active without a keep-alive.
    pub active_timeout: Duration,
    /// How long it may stay paused; `None`: for ever.
    pub paused_timeout: Option<Duration>,
    /// What the end of the active timeout does.
    pub on_timeout: OnTimeout,
    /// The idle timeout of records that have no deadlines (design, 5).
    pub legacy_ttl: Duration,
    /// How long after a start nothing is terminated.
    pub restart_grace: Duration,
    /// How long before an end `expiring` warns; zero: no warning.
    pub warn_before: Duration,
    /// How long tombstones stay readable.
    pub retention: Duration,
    /// How often the backstop looks for what is overdue.
    pub sweep_interval: Duration,
    /// Whether a request may ask for a sandbox without an idle timeout.
    pub allow_no_idle_timeout: bool,
    /// The longest timeout that a request may ask for.
    pub max_timeout: Duration,
}

/// The container engine, and what may run on it (design, 6).
#[derive(Clone, Debug, PartialEq)]
pub struct DockerSettings {
    /// The engine's address: `unix://PATH`, `tcp://HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`.
    pub host: String,
    /// Whether `tcp://` is spoken over TLS.
    pub tls: bool,
    /// The directory of `ca.pem`, `cert.pem` and `key.pem`; `~/` is the home directory.
    pub cert_path: String,
    /// The network that sandboxes join; `default` is the engine's own.
    pub network: String,
    /// How the ports of sandboxes are reached.
    pub reach: Reach,
    /// The address of the engine's host that ports are published on.
    pub publish_address: Ipv4Addr,
    /// The directory of the Docker client's `config.json`; `~/` is the home directory. `None`: it is not read.
    pub client_config: Option<String>,
    /// The logins of registries, by the registry's name.
    pub registries: BTreeMap<String, Login>,
    /// Calls to the engine in flight.
    pub concurrency: usize,
    /// Creates in flight; more are refused.
    pub max_creates: usize,
    /// How long a call to the engine may take.
    pub call_timeout: Duration,
    /// How long a pull may take.
    pub pull_timeout: Duration,
    /// How long a container may take to stop before it is killed; zero: killed at once.
    pub stop_grace: Duration,
    /// How often containers and sandboxes are compared.
    pub reconcile_interval: Duration,
    /// How old a container without a sandbox must be before anything is done about it.
    pub orphan_grace: Duration,
    /// Patterns of images that a request may name; see [`Settings::allows_image`].
    pub allowed_images: Vec<String>,
    /// Directories of the host below which templates may mount.
    pub allowed_mounts: Vec<PathBuf>,
    /// Sandboxes alive at the same time.
    pub max_sandboxes: usize,
    /// How far a request may loosen its template's limits; `None`: it may only tighten that one.
    pub max_limits: Limits,
}

/// How the ports of sandboxes are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// As published on the engine's host.
    Published,
    /// At the container's own address on its network; nothing is published.
    Network,
}

/// A registry's login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password, or a token in its place.
    pub password: Secret,
}

impl DockerSettings {
    /// Whether `source`, a directory of the host, may be mounted. The comparison is by whole components of the path, and
    /// a path with `..` is never allowed.
    pub fn allows_mount(&self, source: &Path) -> bool {
        let climbs = source.components().any(|component| component == Component::ParentDir);
        !climbs && source.is_absolute() && self.allowed_mounts.iter().any(|allowed| source.starts_with(allowed))
    }
}

/// A named preset: what a sandbox is made from and how long it lives, before a request changes some of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// What the container is made from.
    pub start: StartSpec,
    /// The timeouts.
    pub policy: Policy,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or directives such as `info,sandglass=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
#[cfg(test)]
mod tests {
    use super::*;

    fn settings(allowed_images: &[&str]) -> Settings {
        let mut settings = Settings::load(None, [], Overrides::default()).unwrap();
        settings.docker.allowed_images = allowed_images.iter().map(ToString::to_string).collect();
        settings
    }

    #[test]
    fn an_image_is_allowed_by_a_template_or_by_a_pattern() {
        let none = settings(&[]);
        assert!(none.allows_image(&none.templates[BASE_TEMPLATE].start.image));
        assert!(!none.allows_image("alpine"));
        let some = settings(&["ghcr.io/acme/*", "alpine"]);
        assert!(some.allows_image("alpine") && some.allows_image("ghcr.io/acme/tools/shell:1"));
        assert!(!some.allows_image("alpine:3") && !some.allows_image("evil/ghcr.io/acme/x"));
        assert!(settings(&["*"]).allows_image("anything:at-all"));
    }

    #[test]
    fn a_mount_is_allowed_below_whole_components_only() {
        let mut docker = settings(&[]).docker;
        assert!(!docker.allows_mount(Path::new("/srv/data")));
        docker.allowed_mounts = vec!["/srv/data".into()];
        for allowed in ["/srv/data", "/srv/data/", "/srv/data/a/b"] {
            assert!(docker.allows_mount(Path::new(allowed)), "{allowed}");
        }
        for refused in ["/srv", "/srv/database", "/srv/data/../x", "srv/data", "/"] {
            assert!(!docker.allows_mount(Path::new(refused)), "{refused}");
        }
    }
}
