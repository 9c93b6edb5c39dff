//! Configuration files for 0.1.0 load as they did then.

use std::{collections::BTreeMap, path::Path, time::Duration};

use sandglass::{
    config::{ImagePattern, LogFormat, Login, Overrides, Reach, RedisTls, Secret, Settings, StoreKind, Template},
    domain::{
        OnTimeout,
        sandbox::RuleClock,
        spec::{Limits, Mount, Readiness},
    },
};

/// Loads a file of `tests/fixtures/0.1.0`, overridden by variables.
fn load(file: &str, variables: &[(&str, &str)]) -> Settings {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/0.1.0").join(file);
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::load(Some(&path), variables, Overrides::default()).expect("it loads")
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn the_defaults_of_an_old_version_load_as_the_same_settings() {
    assert_eq!(load("default.toml", &[]), Settings::load(None, [], Overrides::default()).expect("they load"));
}

#[test]
fn an_old_file_with_every_key_loads_as_the_same_settings() {
    let Settings { http, store, lifecycle, docker, sandboxes, templates, log } = load("every-key.toml", &[]);

    assert_eq!(http.bind.to_string(), "[::1]:9000");
    assert!(http.api_key.expect("a key").matches(b"open-sesame"));
    let origins: Vec<String> = http.allowed_origins.iter().map(ToString::to_string).collect();
    assert_eq!(origins, ["https://sand.example.com", "http://localhost:3000"]);
    assert_eq!((http.max_body_bytes, http.max_streams, http.stream_history), (2048, 7, 17));
    assert_eq!(http.stop_grace, Duration::ZERO);

    let tls = RedisTls {
        ca: Some("~/ca.pem".to_owned()),
        client: Some(("/etc/cert.pem".to_owned(), "/etc/key.pem".to_owned())),
    };
    assert_eq!(store.kind(), StoreKind::Redis { url: Secret::new("rediss://user:word@redis:6380/2"), tls });
    assert_eq!(store.prefix, "team:a_b.c-d");
    assert_eq!((store.flush_interval, store.lease_ttl), (secs(0.25), secs(3.0)));
    let without_redis = ["URL", "CA", "CERT", "KEY"].map(|name| format!("SANDGLASS_STORE__REDIS_{name}"));
    let without_redis = without_redis.each_ref().map(|name| (name.as_str(), "none"));
    let embedded = load("every-key.toml", &[&without_redis[..], &[("SANDGLASS_STORE__KIND", "auto")]].concat());
    assert_eq!(embedded.store.kind(), StoreKind::Embedded { path: "/var/lib/sandglass.redb".into() });

    assert_eq!((lifecycle.idle_timeout, lifecycle.paused_timeout), (None, Some(secs(86_400.5))));
    assert_eq!((lifecycle.active_timeout, lifecycle.on_timeout), (secs(0.001), OnTimeout::Pause));
    assert_eq!((lifecycle.legacy_ttl, lifecycle.restart_grace), (secs(101.0), Duration::ZERO));
    assert_eq!((lifecycle.warn_before, lifecycle.retention), (Duration::ZERO, secs(1.0)));
    assert_eq!((lifecycle.sweep_interval, lifecycle.max_timeout), (secs(103.0), secs(315_360_000.0)));
    assert!(lifecycle.allow_no_idle_timeout);

    assert_eq!((docker.host.as_str(), docker.tls, docker.cert_path.as_str()), ("tcp://engine:2376", true, "/certs"));
    assert_eq!((docker.network.as_str(), docker.reach), ("sandboxes", Reach::Network));
    assert_eq!((docker.publish_address.to_string().as_str(), docker.client_config.as_deref()), ("0.0.0.0", None));
    let login =
        |username: &str, password: &str| Login { username: username.to_owned(), password: Secret::new(password) };
    let logins = [("ghcr.io", login("robot", "token")), ("registry.corp:5000", login("b", "word"))];
    assert_eq!(docker.logins(), BTreeMap::from(logins.map(|(name, login)| (name.to_owned(), login))));
    assert_eq!((docker.concurrency, docker.call_timeout, docker.pull_timeout), (1024, secs(31.0), secs(601.0)));
    assert_eq!(docker.stop_grace, secs(3600.0));
    assert_eq!((sandboxes.max_creates, sandboxes.max_sandboxes), (10_000, 10_000_000));
    assert_eq!((sandboxes.reconcile_interval, sandboxes.orphan_grace), (secs(61.0), Duration::ZERO));
    let images: Vec<&str> = sandboxes.allowed_images.iter().map(ImagePattern::as_str).collect();
    assert_eq!(images, ["ghcr.io/acme/*", "alpine"]);
    assert_eq!(sandboxes.allowed_mounts, ["/srv", "/home/data"]);
    let most = Limits { cpus: Some(1024.0), memory_mb: Some(16_777_216), pids: Some(4_194_304) };
    assert_eq!(sandboxes.max_limits, most);

    assert_eq!(templates.keys().collect::<Vec<_>>(), ["Python-3_a", "base"]);
    let Template { start, rules, .. } = &templates["base"];
    assert_eq!(start.image, "alpine:3");
    assert_eq!(start.command.as_deref().expect("a command"), ["sh", "-c", "sleep 1"]);
    assert_eq!((start.env["LANG"].as_str(), start.env["_x1"].as_str()), ("C.UTF-8", ""));
    assert_eq!((start.ports.as_slice(), start.init, start.privilege_escalation), (&[443, 65535][..], false, true));
    assert_eq!(start.limits, Limits { cpus: Some(0.01), memory_mb: Some(6), pids: Some(1) });
    assert_eq!(
        start.mounts,
        [
            Mount { source: "/srv/a".to_owned(), target: "/a".to_owned(), read_only: true },
            Mount { source: "/home/data".to_owned(), target: "/b".to_owned(), read_only: false },
        ]
    );
    assert_eq!(start.readiness, Readiness::Http { port: 443, path: "/health?deep=1".to_owned() });
    assert_eq!((start.ready_timeout, rules.after(RuleClock::Idle)), (secs(182.0), Some(secs(201.0))));
    assert_eq!((rules.active_timeout(), rules.after(RuleClock::Paused)), (secs(202.0), Some(secs(203.0))));
    assert_eq!((rules.after(RuleClock::Heartbeat), rules.on_timeout()), (Some(secs(204.0)), OnTimeout::Terminate));

    let Template { start, rules, .. } = &templates["Python-3_a"];
    assert_eq!((start.image.as_str(), &start.command), ("localhost:5000/python@sha256:0123", &None));
    assert_eq!((start.ports.as_slice(), start.init, start.privilege_escalation), (&[443, 65535][..], false, false));
    assert_eq!((start.limits, start.env.len(), start.mounts.len()), (Limits::default(), 0, 0));
    assert_eq!((&start.readiness, start.ready_timeout), (&Readiness::Tcp(65535), secs(181.0)));
    assert_eq!((rules.after(RuleClock::Idle), rules.after(RuleClock::Paused)), (None, Some(secs(86_400.5))));
    assert_eq!((rules.active_timeout(), rules.after(RuleClock::Heartbeat)), (secs(0.001), None));
    assert_eq!(rules.on_timeout(), OnTimeout::Pause);

    assert_eq!((log.level.as_str(), log.format), ("info,sandglass=debug", LogFormat::Json));
}
