//! The configuration as written: every key may be missing, and nothing but the kind of a value is checked. What each
//! key means stands in `config/default.toml`.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer, Visitor},
};

use super::settings::{LogFormat, Reach};
use crate::domain::OnTimeout;

/// One or all of the layers.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of sections")]
pub(super) struct Raw {
    pub http: RawHttp,
    pub store: RawStore,
    pub lifecycle: RawLifecycle,
    pub docker: RawDocker,
    pub templates: BTreeMap<String, RawTemplate>,
    pub log: RawLog,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawHttp {
    pub bind: Option<String>,
    pub api_key: Option<OrNone<String>>,
    pub allowed_origins: Option<Vec<String>>,
    pub max_body_bytes: Option<i64>,
    pub max_streams: Option<i64>,
    pub stream_history: Option<i64>,
    pub stop_grace: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawStore {
    pub kind: Option<RawStoreKind>,
    pub path: Option<String>,
    pub redis_url: Option<OrNone<String>>,
    pub redis_ca: Option<OrNone<String>>,
    pub redis_cert: Option<OrNone<String>>,
    pub redis_key: Option<OrNone<String>>,
    pub prefix: Option<String>,
    pub flush_interval: Option<f64>,
    pub lease_ttl: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawStoreKind {
    /// Redis when there is a URL for it, embedded otherwise.
    Auto,
    Embedded,
    Redis,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawLifecycle {
    pub idle_timeout: Option<OrNone<f64>>,
    pub active_timeout: Option<f64>,
    pub paused_timeout: Option<OrNone<f64>>,
    pub on_timeout: Option<OnTimeout>,
    pub legacy_ttl: Option<f64>,
    pub restart_grace: Option<f64>,
    pub warn_before: Option<f64>,
    pub retention: Option<f64>,
    pub sweep_interval: Option<f64>,
    pub allow_no_idle_timeout: Option<bool>,
    pub max_timeout: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawDocker {
    pub host: Option<String>,
    pub tls: Option<bool>,
    pub cert_path: Option<String>,
    pub network: Option<String>,
    pub reach: Option<Reach>,
    pub publish_address: Option<String>,
    pub client_config: Option<OrNone<String>>,
    pub registries: BTreeMap<String, RawRegistry>,
    pub concurrency: Option<i64>,
    pub max_creates: Option<i64>,
    pub call_timeout: Option<f64>,
    pub pull_timeout: Option<f64>,
    pub stop_grace: Option<f64>,
    pub ready_timeout: Option<f64>,
    pub reconcile_interval: Option<f64>,
    pub orphan_grace: Option<f64>,
    pub allowed_images: Option<Vec<String>>,
    pub allowed_mounts: Option<Vec<String>>,
    pub max_sandboxes: Option<i64>,
    pub max_limits: RawLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with username, password and, if it is wanted, server")]
pub(super) struct RawRegistry {
    pub server: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawLimits {
    pub cpus: Option<OrNone<f64>>,
    pub memory_mb: Option<OrNone<i64>>,
    pub pids: Option<OrNone<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawTemplate {
    pub image: Option<String>,
    pub command: Option<Vec<String>>,
    pub env: BTreeMap<String, String>,
    pub ports: Option<Vec<i64>>,
    pub limits: RawLimits,
    pub init: Option<bool>,
    pub privilege_escalation: Option<bool>,
    pub mounts: Option<Vec<RawMount>>,
    pub ready: Option<RawReady>,
    pub ready_timeout: Option<f64>,
    pub idle_timeout: Option<OrNone<f64>>,
    pub active_timeout: Option<f64>,
    pub paused_timeout: Option<OrNone<f64>>,
    pub heartbeat_timeout: Option<OrNone<f64>>,
    pub on_timeout: Option<OnTimeout>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with source, target and, if it is wanted, read_only")]
pub(super) struct RawMount {
    pub source: Option<String>,
    pub target: Option<String>,
    pub read_only: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(
    rename_all = "lowercase",
    deny_unknown_fields,
    expecting = "\"none\", {tcp = PORT} or {http = {port = PORT, path = PATH}}"
)]
pub(super) enum RawReady {
    None,
    Tcp(i64),
    Http { port: i64, path: String },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawLog {
    pub level: Option<String>,
    pub format: Option<LogFormat>,
}

/// A value, or the word `"none"`: TOML has no null, and a higher layer must be able to take back what a lower one set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OrNone<T>(pub Option<T>);

/// How error messages call a kind of value.
pub(super) trait Kind {
    const WORDS: &'static str;
}

impl Kind for f64 {
    const WORDS: &'static str = "a number";
}

impl Kind for i64 {
    const WORDS: &'static str = "a whole number";
}

impl Kind for String {
    const WORDS: &'static str = "a string";
}

impl<'de, T: Deserialize<'de> + Kind> Deserialize<'de> for OrNone<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OrNoneVisitor(std::marker::PhantomData))
    }
}

struct OrNoneVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de> + Kind> OrNoneVisitor<T> {
    /// `value` as a `T`. What `T` says of a value it does not take is replaced: it does not know of `"none"`.
    fn some<E: de::Error>(self, value: impl IntoDeserializer<'de, E>) -> Result<OrNone<T>, E> {
        let value = T::deserialize(value.into_deserializer());
        value
            .map(|value| OrNone(Some(value)))
            .map_err(|_| E::invalid_type(de::Unexpected::Other("another kind"), &self))
    }
}

impl<'de, T: Deserialize<'de> + Kind> Visitor<'de> for OrNoneVisitor<T> {
    type Value = OrNone<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} or \"none\"", T::WORDS)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        if value == "none" { Ok(OrNone(None)) } else { self.some(value) }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.some(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.some(value)
    }
}
