//! Turns what is written into [`Settings`]: every rule is checked, and every value that breaks one is reported, not just
//! the first. What stands in for a refused value is never seen, since there are no settings then.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use super::{
    error::ConfigError,
    layers::Layers,
    raw::{OrNone, Raw, RawHttp, RawLifecycle, RawLimits, RawLog, RawStore, RawStoreKind},
    rules,
    secret::Secret,
    settings::{HttpSettings, LifecycleSettings, LogFormat, LogSettings, RedisTls, Settings, StoreKind, StoreSettings},
    templates,
    web_origin::WebOrigin,
};
use crate::domain::{OnTimeout, spec::Limits};

const TEN_YEARS: f64 = 315_360_000.0;
/// Seconds for what ends or repeats something: never zero, which would be "at once" or "all the time".
pub(super) const TIMEOUT: RangeInclusive<f64> = 0.001..=TEN_YEARS;
/// Seconds for what may be left out by setting it to zero.
pub(super) const GRACE: RangeInclusive<f64> = 0.0..=TEN_YEARS;

/// Checks everything that is written in `layers`.
pub(super) fn settle(mut layers: Layers) -> Result<Settings, ConfigError> {
    let Raw { http, store, lifecycle, docker, templates, log } = layers.raw();
    let mut check = Check { layers: &mut layers };
    let ready_timeout = check.seconds("docker.ready_timeout", docker.ready_timeout, TIMEOUT);
    let (http, store) = (check.http(http), check.store(store));
    let lifecycle = check.lifecycle(&lifecycle);
    let docker = check.docker(docker);
    let templates = templates::settle(&mut check, templates, &lifecycle, &docker, ready_timeout);
    let log = check.log(log);
    layers.verdict().map(|()| Settings { http, store, lifecycle, docker, templates, log })
}

/// The checks; each returns the value, or something in its place once it has refused it.
pub(super) struct Check<'a> {
    layers: &'a mut Layers,
}

impl Check<'_> {
    fn http(&mut self, raw: RawHttp) -> HttpSettings {
        let api_key = self.required("http.api_key", raw.api_key, OrNone(None)).0;
        if api_key.as_ref().is_some_and(|key| !rules::is_api_key(key)) {
            self.refuse("http.api_key", format!("must be {}", rules::API_KEY_RULE));
        }
        HttpSettings {
            bind: self.bind(raw.bind, api_key.is_some()),
            api_key: api_key.map(Secret::new),
            allowed_origins: self.origins(raw.allowed_origins),
            max_body_bytes: self.count("http.max_body_bytes", raw.max_body_bytes, 1024..=1 << 30),
            max_streams: self.count("http.max_streams", raw.max_streams, 1..=1_000_000),
            stream_history: self.count("http.stream_history", raw.stream_history, 16..=1_000_000),
            stop_grace: self.seconds("http.stop_grace", raw.stop_grace, GRACE),
        }
    }

    fn bind(&mut self, raw: Option<String>, guarded: bool) -> SocketAddr {
        const KEY: &str = "http.bind";
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let Ok(address) = self.required(KEY, raw, anywhere.to_string()).parse::<SocketAddr>() else {
            self.refuse(KEY, "must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080");
            return anywhere;
        };
        // Whoever can reach it can run containers here (design, 9).
        if !guarded && !address.ip().to_canonical().is_loopback() {
            self.refuse(KEY, "an address beyond loopback is refused without an http.api_key");
        }
        address
    }

    fn origins(&mut self, raw: Option<Vec<String>>) -> Vec<WebOrigin> {
        const KEY: &str = "http.allowed_origins";
        let mut origins = Vec::new();
        for text in self.required(KEY, raw, Vec::new()) {
            match text.parse() {
                Ok(origin) => origins.push(origin),
                Err(rule) => self.refuse(KEY, format!("each must be {rule}, such as \"https://sand.example.com\"")),
            }
        }
        origins
    }

    fn store(&mut self, raw: RawStore) -> StoreSettings {
        let path = self.required("store.path", raw.path, String::new());
        if path.is_empty() || !rules::is_text(&path) {
            self.refuse("store.path", "must be the path of a file");
        }
        let url = self.redis_url(raw.redis_url);
        let tls = self.redis_tls(url.as_ref(), raw.redis_ca, raw.redis_cert, raw.redis_key);
        let embedded = StoreKind::Embedded { path: path.into() };
        let kind = match (self.required("store.kind", raw.kind, RawStoreKind::Auto), url) {
            (RawStoreKind::Embedded, _) | (RawStoreKind::Auto, None) => embedded,
            (RawStoreKind::Auto | RawStoreKind::Redis, Some(url)) => StoreKind::Redis { url, tls },
            (RawStoreKind::Redis, None) => {
                self.refuse("store.kind", "redis needs store.redis_url or the environment variable REDIS_URL");
                embedded
            }
        };
        let prefix = self.required("store.prefix", raw.prefix, String::new());
        if !rules::is_prefix(&prefix) {
            self.refuse("store.prefix", format!("must be {}", rules::PREFIX_RULE));
        }
        StoreSettings {
            kind,
            prefix,
            flush_interval: self.seconds("store.flush_interval", raw.flush_interval, 0.001..=60.0),
            lease_ttl: self.seconds("store.lease_ttl", raw.lease_ttl, 3.0..=3600.0),
        }
    }

    fn redis_tls(
        &mut self,
        url: Option<&Secret>,
        ca: Option<OrNone<String>>,
        cert: Option<OrNone<String>>,
        key: Option<OrNone<String>>,
    ) -> RedisTls {
        const WITH_TLS: [&str; 2] = ["rediss://", "valkeys://"];
        let encrypted = url.is_some_and(|url| WITH_TLS.iter().any(|scheme| url.expose().starts_with(scheme)));
        let mut path = |key: &str, raw| {
            let path: String = self.required(key, raw, OrNone(None)).0?;
            if path.is_empty() || !rules::is_text(&path) {
                self.refuse(key, "must be the path of a PEM file, or \"none\"");
            } else if !encrypted {
                self.refuse(key, "needs a store.redis_url that begins with rediss://");
            }
            Some(path)
        };
        let ca = path("store.redis_ca", ca);
        let client = match (path("store.redis_cert", cert), path("store.redis_key", key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => {
                self.refuse("store.redis_cert", "needs store.redis_key");
                None
            }
            (None, Some(_)) => {
                self.refuse("store.redis_key", "needs store.redis_cert");
                None
            }
        };
        RedisTls { ca, client }
    }

    fn redis_url(&mut self, raw: Option<OrNone<String>>) -> Option<Secret> {
        const KEY: &str = "store.redis_url";
        const SCHEMES: [&str; 8] =
            ["redis", "rediss", "redis+sentinel", "valkey", "valkeys", "redis+unix", "valkey+unix", "unix"];
        let url = self.required(KEY, raw, OrNone(None)).0?;
        match url.split_once("://") {
            Some(("rediss+sentinel", _)) => self.refuse(KEY, "TLS is not supported together with Sentinel"),
            Some((scheme, place)) if SCHEMES.contains(&scheme) && !place.is_empty() => {}
            _ => self.refuse(KEY, "must be a URL such as redis://127.0.0.1:6379/0 or redis+unix:///run/redis.sock"),
        }
        Some(Secret::new(url))
    }

    fn lifecycle(&mut self, raw: &RawLifecycle) -> LifecycleSettings {
        let may_be_none = self.required("lifecycle.allow_no_idle_timeout", raw.allow_no_idle_timeout, true);
        let idle_timeout = self.required("lifecycle.idle_timeout", raw.idle_timeout, OrNone(None));
        let paused_timeout = self.required("lifecycle.paused_timeout", raw.paused_timeout, OrNone(None));
        LifecycleSettings {
            idle_timeout: self.idle_timeout("lifecycle.idle_timeout", idle_timeout, may_be_none),
            active_timeout: self.seconds("lifecycle.active_timeout", raw.active_timeout, TIMEOUT),
            paused_timeout: self.seconds_or_none("lifecycle.paused_timeout", paused_timeout),
            on_timeout: self.required("lifecycle.on_timeout", raw.on_timeout, OnTimeout::Deactivate),
            legacy_ttl: self.seconds("lifecycle.legacy_ttl", raw.legacy_ttl, TIMEOUT),
            restart_grace: self.seconds("lifecycle.restart_grace", raw.restart_grace, GRACE),
            warn_before: self.seconds("lifecycle.warn_before", raw.warn_before, GRACE),
            retention: self.seconds("lifecycle.retention", raw.retention, 1.0..=TEN_YEARS),
            sweep_interval: self.seconds("lifecycle.sweep_interval", raw.sweep_interval, TIMEOUT),
            allow_no_idle_timeout: may_be_none,
            max_timeout: self.seconds("lifecycle.max_timeout", raw.max_timeout, TIMEOUT),
        }
    }

    fn log(&mut self, raw: RawLog) -> LogSettings {
        let level = self.required("log.level", raw.level, String::new());
        if !rules::is_level(&level) {
            self.refuse("log.level", format!("must be {}", rules::LEVEL_RULE));
        }
        LogSettings { level, format: self.required("log.format", raw.format, LogFormat::Text) }
    }

    /// Refuses the value at `key`, for breaking `rule`.
    pub(super) fn refuse(&mut self, key: &str, rule: impl Into<String>) {
        self.layers.refuse(key, rule);
    }

    /// A value that some layer has to give. The built-in defaults give all but a template's image.
    pub(super) fn required<T>(&mut self, key: &str, value: Option<T>, stand_in: T) -> T {
        value.unwrap_or_else(|| {
            self.refuse(key, "is missing");
            stand_in
        })
    }

    /// A duration given in seconds.
    pub(super) fn seconds(&mut self, key: &str, value: Option<f64>, range: RangeInclusive<f64>) -> Duration {
        let value = self.required(key, value, *range.start());
        if range.contains(&value) {
            return Duration::from_secs_f64(value);
        }
        let zero = if value == 0.0 { "0 is refused: " } else { "" };
        self.refuse(key, format!("{zero}must be {} to {} seconds", range.start(), range.end()));
        Duration::ZERO
    }

    /// A duration given in seconds, or none.
    pub(super) fn seconds_or_none(&mut self, key: &str, OrNone(value): OrNone<f64>) -> Option<Duration> {
        value.map(|value| self.seconds(key, Some(value), TIMEOUT))
    }

    /// An idle timeout, which may be none only where the configuration says so (design, 3.2).
    pub(super) fn idle_timeout(&mut self, key: &str, value: OrNone<f64>, may_be_none: bool) -> Option<Duration> {
        if value == OrNone(None) && !may_be_none {
            self.refuse(key, "none needs lifecycle.allow_no_idle_timeout = true");
        }
        self.seconds_or_none(key, value)
    }

    /// Limits of resources; what is not written is none here.
    pub(super) fn limits(&mut self, key: &str, raw: &RawLimits) -> Limits {
        let given = |value: Option<OrNone<i64>>| value.and_then(|OrNone(value)| value);
        let cpus = raw.cpus.and_then(|OrNone(cpus)| cpus);
        if cpus.is_some_and(|cpus| !(0.01..=1024.0).contains(&cpus)) {
            self.refuse(&format!("{key}.cpus"), "must be 0.01 to 1024 cores");
        }
        // The engine takes no less than 6 MiB.
        let memory = given(raw.memory_mb).map(|size| self.whole(&format!("{key}.memory_mb"), size, 6..=1 << 24));
        let pids = given(raw.pids).map(|pids| self.whole(&format!("{key}.pids"), pids, 1..=1 << 22));
        Limits { cpus, memory_mb: memory, pids }
    }

    pub(super) fn count(&mut self, key: &str, value: Option<i64>, range: RangeInclusive<u64>) -> usize {
        let value = self.required(key, value, 1);
        usize::try_from(self.whole(key, value, range)).unwrap_or(usize::MAX)
    }

    fn whole(&mut self, key: &str, value: i64, range: RangeInclusive<u64>) -> u64 {
        let number = u64::try_from(value).ok().filter(|number| range.contains(number));
        number.unwrap_or_else(|| {
            self.refuse(key, format!("must be {} to {}", range.start(), range.end()));
            *range.start()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let settings = load("", &[], &[]).unwrap();
        assert_eq!(settings.http.bind.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.http.api_key, None);
        assert_eq!(settings.store.kind, StoreKind::Embedded { path: ".sandglass/sandglass.redb".into() });
        assert_eq!(settings.store.prefix, "sandglass");
        let (store, life, docker) = (&settings.store, &settings.lifecycle, &settings.docker);
        for (duration, seconds) in [
            (store.flush_interval, 1),
            (store.lease_ttl, 10),
            (life.idle_timeout.unwrap(), 7200),
            (life.active_timeout, 1800),
            (life.legacy_ttl, 86400),
            (life.restart_grace, 60),
            (life.warn_before, 60),
            (life.retention, 3600),
            (life.sweep_interval, 30),
            (docker.stop_grace, 10),
            (docker.reconcile_interval, 60),
            (docker.orphan_grace, 60),
            (settings.templates["base"].start.ready_timeout, 180),
        ] {
            assert_eq!(duration, Duration::from_secs(seconds));
        }
        assert_eq!((life.paused_timeout, life.on_timeout), (None, OnTimeout::Deactivate));
    }

    #[test]
    fn redis_is_chosen_by_its_url_from_any_layer() {
        const URL: &str = "redis://host:6379/1";
        let redis = StoreKind::Redis { url: Secret::new(URL), tls: RedisTls::default() };
        let kind = |file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]| {
            load(file, variables, flags).map(|settings| settings.store.kind)
        };
        assert_eq!(kind("", &[("REDIS_URL", URL)], &[]).unwrap(), redis);
        assert_eq!(kind(&format!("store.redis_url = \"{URL}\""), &[], &[]).unwrap(), redis);
        assert_eq!(kind("", &[("REDIS_URL", "redis://a")], &[("store.redis_url", URL)]).unwrap(), redis);
        let ours = [("REDIS_URL", "redis://a"), ("SANDGLASS_STORE__REDIS_URL", URL)];
        assert_eq!(kind("", &ours, &[]).unwrap(), redis);
        assert_eq!(kind("store.kind = \"redis\"", &[("REDIS_URL", URL)], &[]).unwrap(), redis);
        for (file, url) in [("", ""), ("", "none"), ("store.kind = \"embedded\"", URL)] {
            assert!(matches!(kind(file, &[("REDIS_URL", url)], &[]).unwrap(), StoreKind::Embedded { .. }));
        }
        assert_eq!(
            kind("store.kind = \"redis\"", &[], &[]).unwrap_err(),
            "some.toml: store.kind = \"redis\": redis needs store.redis_url or the environment variable REDIS_URL"
        );
    }

    #[test]
    fn an_address_beyond_loopback_needs_an_api_key() {
        for open in ["0.0.0.0:80", "192.168.1.1:80", "[::]:80", "[::ffff:10.0.0.1]:80"] {
            let file = format!("http.bind = \"{open}\"");
            assert!(refusal(&file).contains("is refused without an http.api_key"), "{open}");
            assert!(load(&file, &[("SANDGLASS_HTTP__API_KEY", "12345")], &[]).is_ok(), "{open}");
        }
        for local in ["127.0.0.1:0", "127.1.2.3:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(load(&format!("http.bind = \"{local}\""), &[], &[]).is_ok(), "{local}");
        }
    }

    #[test]
    fn a_life_without_an_idle_timeout_has_to_be_allowed() {
        for key in ["lifecycle.idle_timeout", "templates.base.idle_timeout"] {
            let file = format!("{key} = \"none\"");
            assert!(refusal(&file).contains("needs lifecycle.allow_no_idle_timeout"));
            let settings = load(&format!("lifecycle.allow_no_idle_timeout = true\n{file}"), &[], &[]).unwrap();
            assert_eq!(settings.templates["base"].policy.idle_timeout, None);
        }
    }

    #[test]
    fn a_value_beyond_its_rule_is_refused() {
        for wrong in [
            "http.bind = \"localhost\"",
            "http.api_key = \"\"",
            "http.api_key = \"a b\"",
            "http.allowed_origins = [\"sand.example.com\"]",
            "http.allowed_origins = [\"https://sand.example.com/sand/\"]",
            "http.max_body_bytes = 0",
            "http.max_streams = -1",
            "http.stop_grace = -1",
            "store.path = \"\"",
            "store.redis_url = \"http://host\"",
            "store.redis_url = \"redis://\"",
            "store.redis_url = \"rediss+sentinel://host/service\"",
            "store.redis_ca = \"ca.pem\"",
            "store = { redis_url = \"redis://host\", redis_ca = \"ca.pem\" }",
            "store = { redis_url = \"rediss://host\", redis_cert = \"cert.pem\" }",
            "store = { redis_url = \"rediss://host\", redis_key = \"key.pem\" }",
            "store = { redis_url = \"rediss://host\", redis_ca = \"\" }",
            "store.prefix = \":a\"",
            "store.prefix = \"a b\"",
            "store.flush_interval = 0",
            "store.flush_interval = 61",
            "store.lease_ttl = 2.9",
            "lifecycle.active_timeout = 0",
            "lifecycle.active_timeout = -5",
            "lifecycle.active_timeout = nan",
            "lifecycle.active_timeout = inf",
            "lifecycle.active_timeout = 1e300",
            "lifecycle.paused_timeout = 0",
            "lifecycle.sweep_interval = 0",
            "lifecycle.retention = 0",
            "log.level = \"loud\"",
        ] {
            let message = refusal(wrong);
            let key = wrong.split(' ').next().unwrap();
            assert!(message.starts_with(&format!("some.toml: {key}")) && message.lines().count() == 1, "{message}");
        }
    }

    #[test]
    fn a_grace_may_be_zero_and_a_duration_a_fraction() {
        let file = "lifecycle = {restart_grace = 0, warn_before = 0, idle_timeout = 0.25}\ndocker.stop_grace = 0";
        let settings = load(file, &[], &[]).unwrap();
        assert_eq!(settings.lifecycle.restart_grace, Duration::ZERO);
        assert_eq!(settings.lifecycle.idle_timeout, Some(Duration::from_millis(250)));
    }
}
