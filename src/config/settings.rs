//! The settings. Each is a field of its section, with the leaf that reads and checks it.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use ipnet::Ipv4Net;
use serde::Deserialize;

use super::{
    leaf::{
        ApiKey, Directory, Domain, EngineAddress, FilePath, ImagePattern, Level, LimitKeys, OrNone, Prefix, RedisUrl,
        RegistryName, TemplateName, address, ipv4, subnets,
    },
    secret::Secret,
    templates::{Template, TemplateKeys},
    web_origin::WebOrigin,
};
use crate::domain::{
    OnTimeout, Rules,
    egress::Network,
    leaf::{AbsolutePath, Grace, Leaf, Seconds, Timeout, Whole, checked},
    sandbox::RuleClock,
    spec::Limits,
};

/// The checked configuration, with all fallbacks resolved.
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
    /// What may run on the engine. The keys are in the `docker` section.
    pub sandboxes: SandboxSettings,
    /// The templates by name, among them [`BASE_TEMPLATE`](super::BASE_TEMPLATE).
    pub templates: BTreeMap<String, Template>,
    /// Logs.
    pub log: LogSettings,
}

impl Settings {
    /// Whether sandboxes may be made from `image`: a template names it, or a pattern of `docker.allowed_images` matches it.
    pub fn allows_image(&self, image: &str) -> bool {
        self.templates.values().any(|template| template.start.image == image)
            || self.sandboxes.allowed_images.iter().any(|pattern| pattern.fits(image))
    }
}

/// The sections as they are written, merged from all layers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of sections")]
pub(super) struct Sections {
    pub(super) http: Http,
    pub(super) store: Store,
    pub(super) lifecycle: Lifecycle,
    pub(super) docker: Docker,
    pub(super) templates: BTreeMap<TemplateName, TemplateKeys>,
    pub(super) log: Log,
}

/// Declares the structs of a section of the file, and the section as it is written. A field `name: Type as Leaf` is read
/// and checked by the leaf, and then holds its plain value.
macro_rules! section {
    ($section:ident: $($(#[doc = $about:literal])* pub struct $name:ident {
        $($(#[doc = $doc:literal])* $(#[serde($($serde:tt)*)])? $vis:vis $field:ident: $type:ty $(as $leaf:ty)?,)+
    })+) => {
        $(
            $(#[doc = $about])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $name { $($(#[doc = $doc])* $vis $field: $type,)+ }
        )+

        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields, expecting = "a table")]
        pub(super) struct $section { $($($(#[serde($($serde)*)])? $field: section!(@type $type $(, $leaf)?),)+)+ }

        impl From<$section> for ($($name,)+) {
            fn from(section: $section) -> Self {
                ($($name { $($field: section!(@plain section.$field $(, $leaf)?),)+ },)+)
            }
        }
    };
    (@type $type:ty) => { $type };
    (@type $type:ty, $leaf:ty) => { $leaf };
    (@plain $value:expr) => { $value };
    (@plain $value:expr, $leaf:ty) => { <$leaf as Leaf>::plain($value) };
}

section! { Http:
    /// The HTTP interface.
    pub struct HttpSettings {
        /// The address to listen on; port 0 takes a free one.
        #[serde(deserialize_with = "address")]
        pub bind: SocketAddr,
        /// The key that clients have to present; `None`: they need none.
        pub api_key: Option<Secret> as OrNone<ApiKey>,
        /// Origins of proxies, under which browsers may use the page, beside the address itself.
        pub allowed_origins: Vec<WebOrigin>,
        /// The host, with a port if clients need one, below which each port of each sandbox has a name: `PORT-ID.HOST`.
        pub sandbox_domain: Option<String> as OrNone<Domain>,
        /// The maximum size of a request's body, in bytes.
        pub max_body_bytes: usize as Whole<usize, 1024, { 1 << 30 }>,
        /// The maximum of open status streams, websockets and server-sent events together.
        pub max_streams: usize as Whole<usize, 1, 1_000_000>,
        /// How many events the status stream keeps for clients that reconnect.
        pub stream_history: usize as Whole<usize, 16, 1_000_000>,
        /// How long requests in flight may take to end when Sandglass stops.
        pub stop_grace: Duration as Grace,
    }
}

section! { Store:
    /// Persistence.
    pub struct StoreSettings {
        pub(super) kind: StoreChoice,
        pub(super) path: String as FilePath,
        pub(super) redis_url: Option<Secret> as OrNone<RedisUrl>,
        pub(super) redis_ca: Option<String> as OrNone<FilePath>,
        pub(super) redis_cert: Option<String> as OrNone<FilePath>,
        pub(super) redis_key: Option<String> as OrNone<FilePath>,
        /// What one process supervises: the prefix of all keys, and the value of the label `sandglass.prefix`.
        pub prefix: String as Prefix,
        /// How often activity is written. An unclean stop loses at most this much of it.
        pub flush_interval: Duration as Seconds<1, 60_000>,
        /// How long a silent supervisor keeps its lease.
        pub lease_ttl: Duration as Seconds<3_000, 3_600_000>,
    }
}

/// `store.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreChoice {
    /// Redis if there is a URL for it, embedded otherwise.
    Auto,
    Embedded,
    Redis,
}

impl StoreSettings {
    /// Where records are kept.
    pub fn kind(&self) -> StoreKind {
        match &self.redis_url {
            Some(url) if self.kind != StoreChoice::Embedded => {
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
    /// In a file of the embedded store.
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
    /// The authorities that may sign the server's certificate; `None`: the system's.
    pub ca: Option<String>,
    /// The certificate that is presented to the server, and its key.
    pub client: Option<(String, String)>,
}

section! { Lifecycle:
    /// The lifecycle of sandboxes. Templates fall back to the first four.
    pub struct LifecycleSettings {
        /// How long a sandbox may go unused; `None`: indefinitely.
        pub idle_timeout: Option<Duration> as OrNone<Timeout>,
        /// How long it stays active without a keep-alive.
        pub active_timeout: Duration as Timeout,
        /// How long it may stay paused; `None`: indefinitely.
        pub paused_timeout: Option<Duration> as OrNone<Timeout>,
        /// What happens at the end of the active timeout.
        pub on_timeout: OnTimeout,
        /// The idle timeout of [legacy records](crate::design::restart::records).
        pub legacy_ttl: Duration as Timeout,
        /// How long after a start nothing is terminated.
        pub restart_grace: Duration as Grace,
        /// How long before an end `expiring` is sent; zero: not at all.
        pub warn_before: Duration as Grace,
        /// How long tombstones stay readable.
        pub retention: Duration as Seconds<1_000, { Timeout::MOST.as_millis() as u64 }>,
        /// How often the [backstop](crate::design::time::backstop) runs.
        pub sweep_interval: Duration as Timeout,
        /// Whether a template or a request may ask for a sandbox without an idle timeout.
        pub allow_no_idle_timeout: bool,
        /// The longest timeout that a request may ask for.
        pub max_timeout: Duration as Timeout,
        /// Whether a command that was started through Sandglass holds its sandbox while it runs.
        pub commands_hold: bool,
        /// For how long one command can hold its sandbox.
        pub longest_hold: Duration as Timeout,
    }
}

impl LifecycleSettings {
    /// The rules that a template falls back to.
    pub fn rules(&self) -> Rules {
        let rules = Rules::new(self.active_timeout, self.on_timeout);
        rules.with(RuleClock::Idle, self.idle_timeout).with(RuleClock::Paused, self.paused_timeout)
    }

    /// Whether a template or a request may have this [idle timeout](crate::design::time::idle_timeout).
    pub fn allows_idle_timeout(&self, timeout: Option<Duration>) -> bool {
        timeout.is_some() || self.allow_no_idle_timeout
    }
}

section! { Docker:
    /// The container engine.
    pub struct DockerSettings {
        /// The engine's address: `unix://PATH`, `tcp://HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`.
        pub host: String as EngineAddress,
        /// Whether `tcp://` uses TLS.
        pub tls: bool,
        /// The directory of `ca.pem`, `cert.pem` and `key.pem`; `~/` is the home directory.
        pub cert_path: String as Directory,
        /// The network that sandboxes join, unless their template says otherwise.
        pub network: Network,
        /// What the subnets of isolated and internal networks are taken from.
        #[serde(deserialize_with = "subnets")]
        pub isolated_subnets: Ipv4Net,
        /// Who writes the rules of the walls.
        pub firewall: Firewall,
        /// How the ports of sandboxes are reached.
        pub reach: Reach,
        /// The address of the engine's host on which ports are published.
        #[serde(deserialize_with = "ipv4")]
        pub publish_address: Ipv4Addr,
        /// The directory of the Docker client's `config.json`; `~/` is the home directory. `None`: it is not used.
        pub client_config: Option<String> as OrNone<Directory>,
        /// The registries' entries; see [`DockerSettings::logins`].
        pub registries: BTreeMap<String, Registry>,
        /// The maximum of concurrent calls to the engine.
        pub concurrency: usize as Whole<usize, 1, 1024>,
        /// How long a call to the engine may take.
        pub call_timeout: Duration as Timeout,
        /// How long a pull may take.
        pub pull_timeout: Duration as Timeout,
        /// How long a container may take to stop before it is killed; zero: killed at once.
        pub stop_grace: Duration as Seconds<0, 3_600_000>,
    }

    /// What may run on the engine.
    pub struct SandboxSettings {
        /// The maximum of concurrent creates.
        pub max_creates: usize as Whole<usize, 1, 10_000>,
        /// How long a container may take to become ready, unless its template says otherwise.
        pub ready_timeout: Duration as Timeout,
        /// How often containers and sandboxes are compared.
        pub reconcile_interval: Duration as Timeout,
        /// How old a container without a sandbox must be before it is adopted or removed.
        pub orphan_grace: Duration as Grace,
        /// Patterns of images that a request may name; see [`Settings::allows_image`].
        pub allowed_images: Vec<ImagePattern>,
        /// Directories of the host below which templates may mount.
        pub allowed_mounts: Vec<String> as Vec<AbsolutePath>,
        /// The maximum of living sandboxes.
        pub max_sandboxes: usize as Whole<usize, 1, 10_000_000>,
        /// The maximum of snapshots.
        pub max_snapshots: usize as Whole<usize, 0, 100_000>,
        /// How far a request may loosen its template's limits; `None`: it may only tighten them.
        pub max_limits: Limits as LimitKeys,
    }
}

/// How the ports of sandboxes are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// As published on the engine's host.
    Published,
    /// At the container's own address; no port is published.
    Network,
}

/// Who writes the rules of the walls around isolated sandboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firewall {
    /// This process where it can, else a helper.
    Auto,
    /// This process.
    Local,
    /// A helper container on the engine.
    Helper,
    /// Nobody.
    Off,
}

/// A registry's entry as it is written.
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
    /// The name of the user.
    pub username: String,
    /// The password or a token.
    pub password: Secret,
}

impl DockerSettings {
    /// Returns the logins by the names of their registries.
    pub fn logins(&self) -> BTreeMap<String, Login> {
        let login = |(name, entry): (&String, &Registry)| {
            let Registry { server, username, password } = entry.clone();
            Some((server.unwrap_or_else(|| name.clone()), Login { username: username?, password: password? }))
        };
        self.registries.iter().filter_map(login).collect()
    }
}

impl SandboxSettings {
    /// Whether `source`, a directory of the host, may be mounted. Paths are compared by whole components, and a path with
    /// `..` is never allowed.
    pub fn allows_mount(&self, source: &Path) -> bool {
        let climbs = source.components().any(|component| component == Component::ParentDir);
        !climbs && source.is_absolute() && self.allowed_mounts.iter().any(|allowed| source.starts_with(allowed))
    }
}

section! { Log:
    /// Logs.
    pub struct LogSettings {
        /// A level, or directives such as `info,sandglass=debug`.
        pub level: String as Level,
        /// The format of a line.
        pub format: LogFormat,
    }
}

/// The format of a line of the log.
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
