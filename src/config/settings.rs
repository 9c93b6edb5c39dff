//! The settings, each written once: a field of its section with what it means, and the leaf that reads and checks it.
//! Every fallback is settled in them, so nothing downstream asks "and if it is not configured?".

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    leaf::{
        ApiKey, Directory, EngineAddress, FilePath, ImagePattern, Level, LimitKeys, NetworkName, OrNone, Prefix,
        RedisUrl, RegistryName, TemplateName, address, ipv4,
    },
    secret::Secret,
    templates::{Template, TemplateKeys},
    web_origin::WebOrigin,
};
use crate::domain::{
    OnTimeout, Rules,
    leaf::{AbsolutePath, Grace, Seconds, Timeout, Whole, checked},
    sandbox::RuleClock,
    spec::Limits,
};

/// Everything that can be configured, checked as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The HTTP interface.
    pub http: HttpSettings,
    /// Persistence.
    pub store: StoreSettings,
    /// The lifecycle of sandboxes.
    pub lifecycle: LifecycleSettings,
    /// The container engine.
    pub docker: DockerSettings,
    /// What may run on it, whichever it is; the keys are those of the `docker` section.
    pub sandboxes: SandboxSettings,
    /// The templates by name, among them [`BASE_TEMPLATE`](super::BASE_TEMPLATE).
    pub templates: BTreeMap<String, Template>,
    /// Logs.
    pub log: LogSettings,
}

impl Settings {
    /// Whether sandboxes may be made from `image`: templates name it, or a pattern of `docker.allowed_images` fits.
    pub fn allows_image(&self, image: &str) -> bool {
        self.templates.values().any(|template| template.start.image == image)
            || self.sandboxes.allowed_images.iter().any(|pattern| pattern.fits(image))
    }
}

/// The sections as they are written, all layers together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of sections")]
pub(super) struct Written {
    pub(super) http: HttpSettings,
    pub(super) store: StoreSettings,
    pub(super) lifecycle: LifecycleSettings,
    pub(super) docker: Docker,
    pub(super) templates: BTreeMap<TemplateName, TemplateKeys>,
    pub(super) log: LogSettings,
}

/// The HTTP interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct HttpSettings {
    /// Where it listens; port 0 takes a free one.
    #[serde(deserialize_with = "address")]
    pub bind: SocketAddr,
    /// What clients have to present; `None`: nothing, on loopback only.
    #[serde(deserialize_with = "checked::<OrNone<ApiKey>, _>")]
    pub api_key: Option<Secret>,
    /// Under which names the page may be reached beside the address itself: those of proxies.
    pub allowed_origins: Vec<WebOrigin>,
    /// The largest body of a request, in bytes.
    #[serde(deserialize_with = "checked::<Whole<usize, 1024, { 1 << 30 }>, _>")]
    pub max_body_bytes: usize,
    /// Status streams open at the same time, over websocket and server-sent events together.
    #[serde(deserialize_with = "checked::<Whole<usize, 1, 1_000_000>, _>")]
    pub max_streams: usize,
    /// How many events the status stream keeps for clients that reconnect.
    #[serde(deserialize_with = "checked::<Whole<usize, 16, 1_000_000>, _>")]
    pub stream_history: usize,
    /// How long requests in flight may take to end when Sandglass stops.
    #[serde(deserialize_with = "checked::<Grace, _>")]
    pub stop_grace: Duration,
}

/// Persistence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct StoreSettings {
    #[serde(rename = "kind")]
    pub(super) choice: StoreChoice,
    #[serde(deserialize_with = "checked::<FilePath, _>")]
    pub(super) path: String,
    #[serde(deserialize_with = "checked::<OrNone<RedisUrl>, _>")]
    pub(super) redis_url: Option<Secret>,
    #[serde(deserialize_with = "checked::<OrNone<FilePath>, _>")]
    pub(super) redis_ca: Option<String>,
    #[serde(deserialize_with = "checked::<OrNone<FilePath>, _>")]
    pub(super) redis_cert: Option<String>,
    #[serde(deserialize_with = "checked::<OrNone<FilePath>, _>")]
    pub(super) redis_key: Option<String>,
    /// The beginning of all keys and the value of the label `sandglass.prefix`: what is supervised by one process.
    #[serde(deserialize_with = "checked::<Prefix, _>")]
    pub prefix: String,
    /// How often activity is written; at most this much of it is lost by an unclean stop.
    #[serde(deserialize_with = "checked::<Seconds<1, 60_000>, _>")]
    pub flush_interval: Duration,
    /// How long a supervisor that is silent keeps its lease.
    #[serde(deserialize_with = "checked::<Seconds<3_000, 3_600_000>, _>")]
    pub lease_ttl: Duration,
}

/// `store.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreChoice {
    /// Redis when there is a URL for it, embedded otherwise.
    Auto,
    Embedded,
    Redis,
}

impl StoreSettings {
    /// Where records are kept.
    pub fn kind(&self) -> StoreKind {
        match &self.redis_url {
            Some(url) if self.choice != StoreChoice::Embedded => {
                let client = self.redis_cert.clone().zip(self.redis_key.clone());
                StoreKind::Redis { url: url.clone(), tls: RedisTls { ca: self.redis_ca.clone(), client } }
            }
            _ => StoreKind::Embedded { path: PathBuf::from(&self.path) },
        }
    }
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

/// The lifecycle of sandboxes ([design: time](crate::design::time)). The first four are what a template falls back to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct LifecycleSettings {
    /// How long a sandbox may go unused; `None`: for ever.
    #[serde(deserialize_with = "checked::<OrNone<Timeout>, _>")]
    pub idle_timeout: Option<Duration>,
    /// How long it stays active without a keep-alive.
    #[serde(deserialize_with = "checked::<Timeout, _>")]
    pub active_timeout: Duration,
    /// How long it may stay paused; `None`: for ever.
    #[serde(deserialize_with = "checked::<OrNone<Timeout>, _>")]
    pub paused_timeout: Option<Duration>,
    /// What the end of the active timeout does.
    pub on_timeout: OnTimeout,
    /// The idle timeout of records that have no deadlines ([design: records](crate::design::restart::records)).
    #[serde(deserialize_with = "checked::<Timeout, _>")]
    pub legacy_ttl: Duration,
    /// How long after a start nothing is terminated.
    #[serde(deserialize_with = "checked::<Grace, _>")]
    pub restart_grace: Duration,
    /// How long before an end `expiring` warns; zero: no warning.
    #[serde(deserialize_with = "checked::<Grace, _>")]
    pub warn_before: Duration,
    /// How long tombstones stay readable.
    #[serde(deserialize_with = "checked::<Seconds<1_000, { Timeout::MOST.as_millis() as u64 }>, _>")]
    pub retention: Duration,
    /// How often the backstop looks for what is overdue.
    #[serde(deserialize_with = "checked::<Timeout, _>")]
    pub sweep_interval: Duration,
    /// Whether a template or a request may ask for a sandbox without an idle timeout.
    pub allow_no_idle_timeout: bool,
    /// The longest timeout that a request may ask for.
    #[serde(deserialize_with = "checked::<Timeout, _>")]
    pub max_timeout: Duration,
}

impl LifecycleSettings {
    /// The rules that a template falls back to.
    pub fn rules(&self) -> Rules {
        let rules = Rules::new(self.active_timeout, self.on_timeout);
        rules.with(RuleClock::Idle, self.idle_timeout).with(RuleClock::Paused, self.paused_timeout)
    }

    /// Whether a template or a request may have this idle timeout
    /// ([design: idle timeout](crate::design::time::idle_timeout)).
    pub fn allows_idle_timeout(&self, timeout: Option<Duration>) -> bool {
        timeout.is_some() || self.allow_no_idle_timeout
    }
}

/// Declares structs that share one section of the file, and that section as it is written.
macro_rules! share_a_section {
    ($section:ident: $($(#[$doc:meta])* pub struct $name:ident { $($(#[$meta:meta])* pub $field:ident: $type:ty,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Deserialize)]
            pub struct $name { $($(#[$meta])* pub $field: $type,)+ }
        )+

        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields, expecting = "a table")]
        pub(super) struct $section { $($($(#[$meta])* $field: $type,)+)+ }

        impl From<$section> for ($($name,)+) {
            fn from(section: $section) -> Self {
                ($($name { $($field: section.$field,)+ },)+)
            }
        }
    };
}

share_a_section! { Docker:
    /// The container engine ([design: engine](crate::design::engine)).
    pub struct DockerSettings {
        /// The engine's address: `unix://PATH`, `tcp://HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`.
        #[serde(deserialize_with = "checked::<EngineAddress, _>")]
        pub host: String,
        /// Whether `tcp://` is spoken over TLS.
        pub tls: bool,
        /// The directory of `ca.pem`, `cert.pem` and `key.pem`; `~/` is the home directory.
        #[serde(deserialize_with = "checked::<Directory, _>")]
        pub cert_path: String,
        /// The network that sandboxes join; `default` is the engine's own.
        #[serde(deserialize_with = "checked::<NetworkName, _>")]
        pub network: String,
        /// How the ports of sandboxes are reached.
        pub reach: Reach,
        /// The address of the engine's host that ports are published on.
        #[serde(deserialize_with = "ipv4")]
        pub publish_address: Ipv4Addr,
        /// The directory of the Docker client's `config.json`; `~/` is the home directory. `None`: it is not read.
        #[serde(deserialize_with = "checked::<OrNone<Directory>, _>")]
        pub client_config: Option<String>,
        /// The entries of registries; see [`DockerSettings::logins`].
        pub registries: BTreeMap<String, Registry>,
        /// Calls to the engine in flight.
        #[serde(deserialize_with = "checked::<Whole<usize, 1, 1024>, _>")]
        pub concurrency: usize,
        /// How long a call to the engine may take.
        #[serde(deserialize_with = "checked::<Timeout, _>")]
        pub call_timeout: Duration,
        /// How long a pull may take.
        #[serde(deserialize_with = "checked::<Timeout, _>")]
        pub pull_timeout: Duration,
        /// How long a container may take to stop before it is killed; zero: killed at once.
        #[serde(deserialize_with = "checked::<Seconds<0, 3_600_000>, _>")]
        pub stop_grace: Duration,
    }

    /// What may run on the engine.
    pub struct SandboxSettings {
        /// Creates in flight; more are refused.
        #[serde(deserialize_with = "checked::<Whole<usize, 1, 10_000>, _>")]
        pub max_creates: usize,
        /// How long a container may take to become ready, where its template does not say.
        #[serde(deserialize_with = "checked::<Timeout, _>")]
        pub ready_timeout: Duration,
        /// How often containers and sandboxes are compared.
        #[serde(deserialize_with = "checked::<Timeout, _>")]
        pub reconcile_interval: Duration,
        /// How old a container without a sandbox must be before anything is done about it.
        #[serde(deserialize_with = "checked::<Grace, _>")]
        pub orphan_grace: Duration,
        /// Patterns of images that a request may name; see [`Settings::allows_image`].
        pub allowed_images: Vec<ImagePattern>,
        /// Directories of the host below which templates may mount.
        #[serde(deserialize_with = "checked::<Vec<AbsolutePath>, _>")]
        pub allowed_mounts: Vec<String>,
        /// Sandboxes alive at the same time.
        #[serde(deserialize_with = "checked::<Whole<usize, 1, 10_000_000>, _>")]
        pub max_sandboxes: usize,
        /// How far a request may loosen its template's limits; `None`: it may only tighten that one.
        #[serde(deserialize_with = "checked::<LimitKeys, _>")]
        pub max_limits: Limits,
    }
}

/// How the ports of sandboxes are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// As published on the engine's host.
    Published,
    /// At the container's own address on its network; nothing is published.
    Network,
}

/// The entry of a registry as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with username, password and, if it is wanted, server")]
pub struct Registry {
    #[serde(deserialize_with = "checked::<Option<RegistryName>, _>")]
    pub(super) server: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
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
    /// The logins of registries, by the registry's name.
    pub fn logins(&self) -> BTreeMap<String, Login> {
        let login = |(name, entry): (&String, &Registry)| {
            let Registry { server, username, password } = entry.clone();
            Some((server.unwrap_or_else(|| name.clone()), Login { username: username?, password: password? }))
        };
        self.registries.iter().filter_map(login).collect()
    }
}

impl SandboxSettings {
    /// Whether `source`, a directory of the host, may be mounted. The comparison is by whole components of the path, and
    /// a path with `..` is never allowed.
    pub fn allows_mount(&self, source: &Path) -> bool {
        let climbs = source.components().any(|component| component == Component::ParentDir);
        !climbs && source.is_absolute() && self.allowed_mounts.iter().any(|allowed| source.starts_with(allowed))
    }
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct LogSettings {
    /// A level, or directives such as `info,sandglass=debug`.
    #[serde(deserialize_with = "checked::<Level, _>")]
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::{
        super::{BASE_TEMPLATE, Overrides},
        *,
    };

    fn settings(allowed_images: &[&str]) -> Settings {
        let mut settings = Settings::load(None, [], Overrides::default()).unwrap();
        settings.sandboxes.allowed_images =
            allowed_images.iter().map(|pattern| ImagePattern::try_from((*pattern).to_owned()).unwrap()).collect();
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
        let mut sandboxes = settings(&[]).sandboxes;
        assert!(!sandboxes.allows_mount(Path::new("/srv/data")));
        sandboxes.allowed_mounts = vec!["/srv/data".into()];
        for allowed in ["/srv/data", "/srv/data/", "/srv/data/a/b"] {
            assert!(sandboxes.allows_mount(Path::new(allowed)), "{allowed}");
        }
        for refused in ["/srv", "/srv/database", "/srv/data/../x", "srv/data", "/"] {
            assert!(!sandboxes.allows_mount(Path::new(refused)), "{refused}");
        }
    }
}
