//! Rules that concern more than one value. Leaves check single values.

use super::{
    fallback::{ALLOWED, NONE_NEEDS},
    layers::Layers,
    leaf::RegistryName,
    settings::{DockerSettings, HttpSettings, LifecycleSettings, StoreChoice, StoreSettings},
};

pub(super) fn http(layers: &mut Layers, http: &HttpSettings) {
    // See [design: access](crate::design::security::access).
    let open = http.api_key.is_none() && !http.bind.ip().to_canonical().is_loopback();
    let rule = "an address beyond loopback is refused without an http.api_key";
    layers.refuse_if(open, &["http.bind", "http.api_key"], rule);
}

pub(super) fn store(layers: &mut Layers, store: &StoreSettings) {
    const WITH_TLS: [&str; 2] = ["rediss://", "valkeys://"];
    const URL: &str = "store.redis_url";
    let (cert, key) = ("store.redis_cert", "store.redis_key");
    let missing = store.kind == StoreChoice::Redis && store.redis_url.is_none();
    let rule = "redis needs store.redis_url or the environment variable REDIS_URL";
    layers.refuse_if(missing, &["store.kind", URL], rule);
    let url = store.redis_url.as_ref();
    let encrypted = url.is_some_and(|url| WITH_TLS.iter().any(|scheme| url.expose().starts_with(scheme)));
    for (file, path) in [("store.redis_ca", &store.redis_ca), (cert, &store.redis_cert), (key, &store.redis_key)] {
        let rule = "needs a store.redis_url that begins with rediss://";
        layers.refuse_if(path.is_some() && !encrypted, &[file, URL], rule);
    }
    let (has_cert, has_key) = (store.redis_cert.is_some(), store.redis_key.is_some());
    layers.refuse_if(has_cert && !has_key, &[cert, key], "needs store.redis_key");
    layers.refuse_if(has_key && !has_cert, &[key, cert], "needs store.redis_cert");
}

pub(super) fn lifecycle(layers: &mut Layers, lifecycle: &LifecycleSettings) {
    let wrong = !lifecycle.allows_idle_timeout(lifecycle.idle_timeout);
    layers.refuse_if(wrong, &["lifecycle.idle_timeout", ALLOWED], NONE_NEEDS);
}

pub(super) fn docker(layers: &mut Layers, docker: &DockerSettings) {
    let mut servers = Vec::new();
    for (name, entry) in &docker.registries {
        let key = format!("docker.registries.{name}");
        let server = entry.server.as_ref().unwrap_or(name);
        let is_registry = RegistryName::try_from(server.clone()).is_ok();
        layers.refuse_if(!is_registry, &[&key], format!("its server {}", RegistryName::RULE));
        let complete = entry.username.is_some() && entry.password.is_some();
        layers.refuse_if(!complete, &[&key], "needs a username and a password");
        layers.refuse_if(servers.contains(&server), &[&key], "another entry has the same server");
        servers.push(server);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{testing::*, *};
    use crate::domain::OnTimeout;

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let settings = load("", &[], &[]).unwrap();
        assert_eq!(settings.http.bind.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.http.api_key, None);
        assert_eq!(settings.store.kind(), StoreKind::Embedded { path: ".sandglass/sandglass.redb".into() });
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
            (settings.sandboxes.reconcile_interval, 60),
            (settings.sandboxes.orphan_grace, 60),
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
            load(file, variables, flags).map(|settings| settings.store.kind())
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
            assert_eq!(settings.templates["base"].rules.after(crate::domain::sandbox::RuleClock::Idle), None);
        }
    }

    /// Each line sets one key to several values.
    #[test]
    fn a_value_beyond_its_rule_is_refused() {
        const WRONG: &str = r#"
            http.bind = "localhost"
            http.api_key = "" | "a b"
            http.allowed_origins = ["sand.example.com"] | ["https://sand.example.com/sand/"]
            http.max_body_bytes = 0
            http.max_streams = -1
            http.stop_grace = -1
            store.path = ""
            store.redis_url = "http://host" | "redis://" | "rediss+sentinel://host/service"
            store.redis_ca = "ca.pem"
            store = { redis_url = "redis://host", redis_ca = "ca.pem" }
            store = { redis_url = "rediss://host", redis_cert = "cert.pem" }
            store = { redis_url = "rediss://host", redis_key = "key.pem" } | { redis_url = "rediss://host", redis_ca = "" }
            store.prefix = ":a" | "a b"
            store.flush_interval = 0 | 61
            store.lease_ttl = 2.9
            lifecycle.active_timeout = 0 | -5 | nan | inf | 1e300
            lifecycle.paused_timeout = 0
            lifecycle.sweep_interval = 0
            lifecycle.retention = 0
            log.level = "loud"
            docker.host = "ssh://host" | "unix://relative"
            docker.cert_path = "certs" | "~me/certs"
            docker.client_config = "/a/../b"
            docker.network = "host" | "container:x" | ""
            docker.isolated_subnets = "10.213.0.0/23" | "203.0.113.0/20" | "10.0.0.0/7" | "10.0.0.0" | "fd00::/8"
            docker.firewall = "nobody"
            docker.reach = "telepathy"
            templates.base.network = "host"
            templates.base.egress.deny = ["example.com"] | ["203.0.113.0/33"]
            templates.base.egress = { allow = ["203.0.113.7"] }
            docker.publish_address = "localhost" | "::1"
            docker.concurrency = 0
            docker.max_sandboxes = 0
            docker.call_timeout = 0
            docker.allowed_images = [""]
            docker.allowed_mounts = ["srv"] | ["/srv/../etc"]
            docker.max_limits.cpus = 0
            docker.max_limits.memory_mb = 5
        "#;
        for line in WRONG.trim().lines() {
            let (key, values) = line.trim().split_once(" = ").unwrap();
            for value in values.split(" | ") {
                let message = refusal(&format!("{key} = {value}"));
                assert!(message.starts_with(&format!("some.toml: {key}")), "{value}: {message}");
                assert_eq!(message.lines().count(), 1, "{message}");
            }
        }
        for good in ["network = \"sandboxes\"", "host = \"https://engine:2376\"", "publish_address = \"0.0.0.0\""] {
            assert!(load(&format!("docker.{good}"), &[], &[]).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_grace_may_be_zero_and_a_duration_a_fraction() {
        let file = "lifecycle = {restart_grace = 0, warn_before = 0, idle_timeout = 0.25}\ndocker.stop_grace = 0";
        let settings = load(file, &[], &[]).unwrap();
        assert_eq!(settings.lifecycle.restart_grace, Duration::ZERO);
        assert_eq!(settings.lifecycle.idle_timeout, Some(Duration::from_millis(250)));
    }

    #[test]
    fn the_variables_of_the_docker_client_set_what_they_mean_there() {
        let docker = load("", &[], &[]).unwrap().docker;
        assert_eq!(
            (docker.tls, docker.cert_path.as_str(), docker.client_config.as_deref()),
            (false, "~/.docker", Some("~/.docker"))
        );
        // There, every text but an empty one turns verification on.
        for on in ["1", "yes", "0"] {
            let variables = [("DOCKER_TLS_VERIFY", on), ("DOCKER_CERT_PATH", "/certs"), ("DOCKER_CONFIG", "/client")];
            let docker = load("", &variables, &[]).unwrap().docker;
            assert_eq!((docker.tls, docker.cert_path.as_str()), (true, "/certs"));
            assert_eq!(docker.client_config.as_deref(), Some("/client"));
        }
        assert!(!load("", &[("DOCKER_TLS_VERIFY", ""), ("DOCKER_CERT_PATH", "")], &[]).unwrap().docker.tls);
        let ours = [("DOCKER_TLS_VERIFY", "1"), ("SANDGLASS_DOCKER__TLS", "false")];
        assert!(!load("", &ours, &[]).unwrap().docker.tls);
        assert_eq!(load("docker.client_config = \"none\"", &[], &[]).unwrap().docker.client_config, None);
    }

    #[test]
    fn a_registry_is_named_by_its_entry_or_by_its_server_and_its_password_is_shown_nowhere() {
        let file = r#"
            docker.registries."ghcr.io" = { username = "a", password = "open sesame" }
            docker.registries.corp = { server = "registry.corp:5000", username = "b" }
        "#;
        let password = ("SANDGLASS_DOCKER__REGISTRIES__CORP__PASSWORD", "1234");
        let settings = load(file, &[password], &[]).unwrap();
        let login = |name: &str, password: &str| Login { username: name.into(), password: Secret::new(password) };
        let registries = settings.docker.logins();
        let expected = [("ghcr.io", login("a", "open sesame")), ("registry.corp:5000", login("b", "1234"))];
        assert_eq!(registries, expected.map(|(name, login)| (name.to_owned(), login)).into());
        assert!(!format!("{settings:?}").contains("sesame"));
        for (wrong, rule) in [
            ("a = {username = \"u\"}", "needs a username and a password"),
            (
                "a = {username = \"u\", password = \"sesame\", server = \"https://a\"}",
                "must be a registry as images name it",
            ),
            ("a = {username = \"u\", password = \"sesame\", token = \"sesame\"}", "unknown key"),
            ("a = {username = \"u\", password = [\"sesame\"]}", "must be a string"),
            (
                "a = {username = \"u\", password = \"sesame\"}\n\"b\" = {server = \"a\", username = \"u\", password = \"x\"}",
                "another entry has the same server",
            ),
        ] {
            let refused = refusal(&format!("[docker.registries]\n{wrong}"));
            assert!(refused.starts_with("some.toml: docker.registries.") && refused.contains(rule), "{refused}");
            assert!(!refused.contains("sesame"), "{refused}");
        }
    }
}
